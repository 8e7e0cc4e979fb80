"""Read-only commands show what they can, even with damaged state."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
from pathlib import Path

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.store import Store
from tests.engine.site import shipped, truncated
from tests.observe.status.test_status_of_service import recorded
from tests.policies import LOOK

OTHER = shipped("proactive-reclaim")
SHOWS = {
    "status": ["status"],
    "history": ["history"],
    "diff": ["diff"],
    "doctor": ["doctor"],
    "plan": ["plan", OTHER],
    "report": ["report", "snapshot"],
    "import": ["import"],
    "record": ["record", "--source", "trace", "--count", "1", "--force"],
}
FILES = {
    "state": lambda places: places.state,
    "service": lambda places: places.service,
    "confirmed": lambda places: places.confirmed,
    "now": lambda places: places.generations / "2.json",
    "earlier": lambda places: places.generations / "1.json",
    "journal": lambda places: places.journal,
}
DIRECTORIES = {
    "generations": lambda places: places.generations,
    "lib": lambda places: places.lib,
    "run": lambda places: places.run,
}
TOLD_WHERE_MISSING = {
    "now": {"status", "history"},
    "earlier": set(),
    "generations": {"status", "history"},
    "lib": {"status", "history"},
}
"""What may be missing because it was never there says nothing."""


@pytest.fixture
def kept(site, tmp_path, monkeypatch):
    """Two generations, and the record of a service."""
    monkeypatch.chdir(tmp_path)
    site.done("apply", site.policy("look", LOOK))
    site.done("apply", site.setting("a", 1))
    recorded(site)
    return site


def missing(path, _):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def empty(path, _):
    path.write_bytes(b"")


def cut(path, _):
    truncated(path)


def flipped(path, _):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def directory(path, _):
    path.unlink()
    path.mkdir()


def file(path, _):
    shutil.rmtree(path)
    path.write_text("")


def refusing(code):
    """Let every opening and listing at a path or below fail: root may read all else."""

    def damage(path, monkeypatch):
        def refused(function):
            def called(name, *arguments, **options):
                place = name
                if options.get("dir_fd") is not None:
                    place = Path(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), name)
                if isinstance(place, str | Path) and path in (Path(place), *Path(place).parents):
                    raise OSError(code, os.strerror(code), str(place))
                return function(name, *arguments, **options)

            return called

        monkeypatch.setattr(io, "open", refused(io.open))
        monkeypatch.setattr(os, "open", refused(os.open))
        monkeypatch.setattr(os, "listdir", refused(os.listdir))

    damage.__name__ = errno.errorcode[code]
    return damage


UNREADABLE = [refusing(errno.EACCES), refusing(errno.EIO)]
CASES = [
    *itertools.product(FILES, [missing, empty, cut, flipped, directory, *UNREADABLE]),
    *itertools.product(DIRECTORIES, [missing, file, *UNREADABLE]),
]


def shown(command, data):
    """Whether a command shows what it is for, as far as it can be known."""
    match command:
        case "status":
            return "on" in [each["state"] for each in data["kdamonds"]]
        case "history":
            return isinstance(data["generations"], list)
        case "diff":
            return "drift" in data
        case "doctor":
            return any(each["what"].startswith("DAMON is there") for each in data["checks"])
        case "plan":
            return bool(data["kdamonds"])
        case "report":
            return sum(len(each["regions"]) for each in data["snapshots"]) > 0
        case "import":
            return "kdamonds:" in data["policy"]
        case "record":
            return data["snapshots"] == 1
    raise AssertionError(command)


@pytest.mark.parametrize(
    ("what", "damage"), CASES, ids=[f"{what}-{damage.__name__}" for what, damage in CASES]
)
def test_what_cannot_be_read_is_said_and_all_else_is_shown(kept, monkeypatch, what, damage):
    with monkeypatch.context() as patched:
        _shown_beside(kept, patched, what, damage)


def _shown_beside(kept, monkeypatch, what, damage):
    path = (FILES | DIRECTORIES)[what](kept.places)
    if what == "journal":
        counter = itertools.count(1)
        kept.killed(lambda *_: next(counter) == 8, "ksm")
    damage(path, monkeypatch)
    if what == "state":  # else it is read from there
        damage(kept.places.state_copy, monkeypatch)
    unknown = what in ("state", "run") and damage is not missing
    forgotten = what in ("state", "run") and damage is missing
    for command, words in SHOWS.items():
        outcome = kept.run(*words, "--format", "json")
        document = outcome.json
        said = " ".join(str(each["message"]) for each in document["diagnostics"])
        if command == "doctor":
            said = " ".join(each["what"] for each in document["data"]["checks"])
        about = (what, damage.__name__, command, outcome)
        if command == "diff" and unknown:
            assert outcome.code in (ExitCode.FAILED, ExitCode.NO_PERMISSION), about
            assert str(path) in said, about
            continue
        if command == "report" and forgotten:
            assert outcome.code == ExitCode.UNSUPPORTED, about
            assert "no kdamond of ours runs" in said, about
            continue
        if what == "journal" and command == "report" and damage is not missing:
            assert outcome.code == ExitCode.BUSY, about
            assert "a transaction was interrupted" in said, about
            continue
        if what == "journal" and command == "import":
            # the half of a kdamond that was written is no policy, and is shown all the same
            assert outcome.code == ExitCode.INVALID, about
            assert shown(command, document["data"]), about
            continue
        assert outcome.code in (ExitCode.OK, ExitCode.CHANGES, ExitCode.FAILED), about
        assert (outcome.code == ExitCode.FAILED) <= (command == "doctor"), about
        assert shown(command, document["data"]), about
        if command in ("status", "history") and what != "earlier":
            told = damage is not missing or command in TOLD_WHERE_MISSING.get(what, ())
            needs = command == "status" or what not in ("service", "journal")
            assert (str(path) in said) == (told and needs), about


def test_history_marks_what_cannot_be_read(kept):
    (kept.places.generations / "1.json").write_text("")
    (kept.places.generations / "2.json").unlink()
    outcome = kept.done("history")

    assert outcome.out.splitlines()[1:] == [
        "   1  ?  [unreadable]",
        "   2  ?  [now, confirmed, unreadable]",
    ]
    assert "warning[DP0660]: there is no generation 2" in outcome.err
    rows = kept.json("history")["data"]["generations"]
    assert [(each["when"], each["policies"]) for each in rows] == [(None, None)] * 2


def test_status_does_not_claim_that_nothing_is_applied(kept):
    kept.places.state.write_text("")
    kept.places.state_copy.write_text("")

    assert kept.done("status").out.splitlines()[1] == "what is applied is not known"
    assert kept.json("status", "--update")["exit_code"] == 0


def test_nobody_is_asked_while_it_is_not_known_what_is_ours(kept):
    kept.places.state.write_text("")
    kept.places.state_copy.write_text("")
    since = len(kept.machine.log)
    kept.done("status", "--update")
    kept.done("report", "snapshot")
    named = kept.run("report", "snapshot", "--source", "regions")

    assert named.code == ExitCode.UNSUPPORTED
    assert "state.json` is damaged" in named.err
    assert not [each for each in kept.machine.log[since:] if each.path.endswith("/state")]


def test_a_note_beside_a_change_is_left_out_where_the_service_cannot_be_heard(kept):
    kept.places.service.write_text("")

    kept.done("rollback", "1")
    kept.done("remove", "look")


@pytest.fixture
def overdue(kept, monkeypatch):
    """An unconfirmed change whose guard is dead."""
    monkeypatch.setattr("damonpolicy.cli.options.confirmation.start_guard", lambda *_: None)
    kept.done("apply", kept.setting("a", 2), "--confirm-within", "1h")
    clock = EmulatedMachine.monotonic
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda self: clock(self) + 3601)
    return kept


@pytest.mark.parametrize("words", [("status",), ("plan", OTHER), ("doctor",)])
def test_a_deadline_that_is_over_is_said(overdue, words):
    outcome = overdue.run(*words)

    assert "generation 3 was not confirmed in time, and is still there" in outcome.out + outcome.err
    assert words == ("doctor",) or "warning[DP0661]" in outcome.err
    assert "hint: `damonpolicy recover` rolls it back" in outcome.out + outcome.err
    assert Store(overdue.places).numbers() == [1, 2, 3]

    overdue.done("recover")
    assert "still there" not in overdue.done("status").err


def test_no_number_that_was_not_typed_is_a_usage_error(kept):
    (kept.places.generations / "2.json").unlink()
    kept.machine.reboot()
    boot = kept.run("apply", "--boot")
    typed = kept.run("rollback", "2")

    assert (boot.code, typed.code) == (ExitCode.FAILED, ExitCode.USAGE)
    for outcome in (boot, typed):
        assert "there is no generation 2" in outcome.err
