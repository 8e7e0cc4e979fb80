"""Read-only commands change neither the kernel nor damonpolicy's state."""

from __future__ import annotations

import itertools
import sys

import pytest
from textual.app import App

from damonpolicy.base.errors import Busy, ExitCode, UsageError
from damonpolicy.cli.commands import top
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.context import Invocation
from damonpolicy.cli.main import COMMANDS
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.session import looking
from damonpolicy.kernel.damon.tracing import TRACEFS
from damonpolicy.kernel.system.machine import KDAMONDS, LiveMachine
from damonpolicy.policy.compile.cache import OFF
from tests.engine.site import shipped
from tests.policies import LOOK

CHANGES = {"apply", "run", "confirm", "rollback", "recover", "remove", "stop", "emulate"}
"""Commands that may change the machine; all others only look."""

KSM = shipped("ksm")
LOOKS = {
    "init": [["ksm"]],
    "validate": [[KSM]],
    "plan": [[KSM], ["--prune", "--takeover", KSM]],
    "history": [[]],
    "status": [[]],
    "diff": [[]],
    "convert": [["seen.parquet", "seen.json"]],
    "render": [[shipped("proactive-reclaim")]],
    "import": [[]],
    "features": [[]],
    "doctor": [[]],
    "show": [["1"]],
    "explain": [["quota.size"], ["DP0217"]],
    "schema": [[]],
    "completion": [["bash"]],
    "record": [["--source", "trace", "--count", "1"]],
    "report": [[name, "--source", "trace"] for name in REPORTS],
}
ASKS = {
    "status": [["--update"]],
    "record": [["--source", "regions", "--count", "1"]],
    "report": [[name, "--source", "regions"] for name in REPORTS],
}
"""What asks running kdamonds of ours, by a word in `state`; `top` has tests of its own."""

QUESTIONS = ("update_", "clear_schemes_tried_regions")


def calls(table):
    return [[name, *words] for name, each in table.items() for words in each]


def named(words):
    return "-".join(each.rpartition("/")[2].lstrip("-") for each in words)


@pytest.fixture
def quiet(site, tmp_path, monkeypatch):
    """One policy is applied, and a record lies in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(OFF)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", lambda *_: None)
    site.done("apply", site.policy("look", LOOK))
    site.done("record", "-o", "seen.parquet", "--count", "1")
    return site


def interrupt(site):
    """Kill another apply right before its eighth write."""
    counter = itertools.count(1)
    site.killed(lambda path, text: next(counter) == 8, "ksm")


@pytest.fixture
def interrupted(quiet):
    interrupt(quiet)
    return quiet


@pytest.fixture
def overdue(quiet, monkeypatch):
    """A change was not confirmed in time, and its guard is dead."""
    quiet.done("apply", KSM, "--confirm-within", "1h")
    clock = EmulatedMachine.monotonic
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: clock(self) + 3601)
    return quiet


def remembered(site):
    """Every file of the state directory with its content and time, but for the bare lock."""
    return {
        path: (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns)
        for path in sorted(site.directory.rglob("*"))
        if site.directory / "machine" not in (path, *path.parents)
        and path not in (site.places.lock, site.directory)
    }


def changed(site, since):
    """Writes that are more than a question to a kdamond, or a reader of trace events."""
    return [
        each
        for each in site.machine.log[since:]
        if not each.path.startswith(TRACEFS)
        and not (
            each.path.startswith(KDAMONDS)
            and each.path.endswith("/state")
            and each.text.startswith(QUESTIONS)
        )
    ]


def test_every_command_changes_things_or_only_looks():
    assert set(LOOKS) | set(ASKS) | {"top"} | CHANGES == set(COMMANDS)


@pytest.mark.parametrize("state", ["quiet", "interrupted", "overdue"])
@pytest.mark.parametrize("words", calls(LOOKS), ids=named)
def test_looking_changes_nothing(request, state, words):
    site = request.getfixturevalue(state)
    before, files, since = site.world.look(), remembered(site), len(site.machine.log)

    assert site.run(*words).code not in (ExitCode.USAGE, ExitCode.INTERNAL)
    assert changed(site, since) == []
    assert site.world.look() == before
    assert remembered(site) == files


@pytest.mark.parametrize("words", calls(ASKS), ids=named)
def test_asking_changes_nothing(quiet, words):
    before, files, since = quiet.world.look(), remembered(quiet), len(quiet.machine.log)
    quiet.done(*words)

    assert len(quiet.machine.log) > since
    assert changed(quiet, since) == []
    assert quiet.world.look() == before
    assert remembered(quiet) == files


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("interrupted", "a transaction was interrupted"),
        ("overdue", "generation 2 was not confirmed in time"),
    ],
)
@pytest.mark.parametrize("words", calls(ASKS), ids=named)
def test_nobody_is_asked_before_a_change_was_brought_to_its_end(request, state, said, words):
    site = request.getfixturevalue(state)
    before, files, since = site.world.look(), remembered(site), len(site.machine.log)
    outcome = site.run(*words)

    assert outcome.code == ExitCode.BUSY
    assert said in outcome.err
    assert "hint: `damonpolicy recover` ends it" in outcome.err
    assert len(site.machine.log) == since
    assert site.world.look() == before
    assert remembered(site) == files

    site.done("recover")
    site.done(*words)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("interrupted", "a transaction was interrupted"),
        ("overdue", "generation 2 was not confirmed in time"),
    ],
)
@pytest.mark.parametrize("name", ["status", "diff", "import", "record", "report"])
def test_what_is_seen_of_an_unfinished_change_is_said_to_be(request, state, said, name):
    site = request.getfixturevalue(state)
    for words in LOOKS[name]:
        assert f"]: {said}" in site.run(name, *words).err


@pytest.mark.parametrize("words", calls(ASKS) + calls({"report": LOOKS["report"]}), ids=named)
def test_nothing_to_see_because_of_an_interrupted_change_is_said(site, words):
    interrupt(site)
    assert not any(site.machine.running(slot) for slot in range(1))
    outcome = site.run(*words)

    assert outcome.code == ExitCode.BUSY
    assert "hint: `damonpolicy recover` ends it" in outcome.err


class TestTop:
    @pytest.fixture
    def started(self, monkeypatch):
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
        found = []
        monkeypatch.setattr(App, "run", lambda self: found.append(self))  # noqa: PLW0108 — a method
        return found

    @staticmethod
    def command(site):
        invocation = Invocation(kernel="emulated:7.3", state_dir=str(site.directory))
        return top.command.main([], prog_name="top", standalone_mode=False, obj=invocation)

    def test_it_changes_nothing(self, quiet, started):
        before, files, since = quiet.world.look(), remembered(quiet), len(quiet.machine.log)
        self.command(quiet)
        started[0]._look(None)

        assert len(quiet.machine.log) > since
        assert changed(quiet, since) == []
        assert quiet.world.look() == before
        assert remembered(quiet) == files

    @pytest.mark.parametrize("state", ["interrupted", "overdue"])
    def test_it_does_not_begin_before_a_change_was_brought_to_its_end(
        self, request, state, started
    ):
        site = request.getfixturevalue(state)
        since = len(site.machine.log)
        with pytest.raises(Busy):
            self.command(site)

        assert started == []
        assert len(site.machine.log) == since

    def test_it_asks_nobody_once_a_transaction_was_interrupted(self, quiet, started):
        self.command(quiet)
        interrupt(quiet)
        since = len(quiet.machine.log)
        with pytest.raises(Busy):
            started[0]._look(None)

        assert len(quiet.machine.log) == since


def test_a_copy_answers_nothing(tmp_path, quiet):
    with (
        pytest.raises(UsageError, match="`--root` is for reading only"),
        looking(LiveMachine(str(tmp_path)), quiet.places),
    ):
        pass
