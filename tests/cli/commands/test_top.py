"""`top` without its screen: its requests, and its data."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from textual.app import App

from damonpolicy.base.errors import ExitCode, KernelLacks, UsageError
from damonpolicy.cli.commands import top
from damonpolicy.cli.context import Invocation
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.collect import live, trace_events
from damonpolicy.observe.collect.running import running
from damonpolicy.plan.machine_state import retrieve


def run(*arguments, form="text"):
    """Run the command on an emulated kernel."""
    return top.command.main(
        list(arguments),
        prog_name="top",
        standalone_mode=False,
        obj=Invocation(kernel="emulated:7.3", form=form, opened=EmulatedMachine.create("7.3")),
    )


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """A person looks; what the command would show is kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    started = []
    monkeypatch.setattr(App, "run", lambda self: started.append(self))  # noqa: PLW0108 — a method
    return started


def test_it_needs_a_terminal():
    with pytest.raises(UsageError, match="`top` needs a terminal") as raised:
        run()
    assert "`damonpolicy status`" in raised.value.hint


def test_it_has_no_document(terminal):
    with pytest.raises(UsageError, match="`top` needs a terminal"):
        run(form="json")


def test_it_starts_with_what_was_asked_for(terminal):
    assert run("--interval", "500ms").raw
    (app,) = terminal
    assert (app._interval, app._slot) == (0.5, None)


def test_looking_all_the_time_is_refused(terminal):
    with pytest.raises(UsageError, match="`--interval` is too short"):
        run("--interval", "1ms")


def test_a_kdamond_that_does_not_run(terminal):
    with pytest.raises(UsageError, match="no kdamond `ksm/x` runs") as raised:
        run("--kdamond", "ksm/x")
    assert raised.value.hint == "`damonpolicy apply` starts some"


def test_without_textual_it_is_said_how_to_get_it(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "damonpolicy.cli.show.top_screen")
    with pytest.raises(UsageError, match="`top` needs textual") as raised:
        run()
    assert raised.value.hint == "`pip install 'damonpolicy[top]'`"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_it_is_stopped_ends_it_in_order(tmp_path, ending):
    ours, theirs = pty.openpty()
    environment = {
        **os.environ, "DAMONPOLICY_KERNEL": "emulated:7.3", "XDG_STATE_HOME": str(tmp_path),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "damonpolicy", "top"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"quit" not in shown:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(ending)
    process.send_signal(signal.SIGCONT)
    with suppress(OSError):  # the terminal has no other end any more
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait() == ExitCode.INTERRUPTED
    assert b"defect" not in shown


LOOK = """
version: 1
name: look
kdamonds:
  - name: vms
    ops: vaddr
    targets: [{process: {name: qemu-system-x86_64}}]
    schemes:
      - {name: all, action: stat, APPLY}
modules: {damon_stat: {enabled: false}}
"""


@pytest.fixture
def reader(site):
    """The machine with a kdamond whose scheme tells its regions at once."""
    site.done("apply", site.policy("look", LOOK.replace(", APPLY", "")))
    return top.Reader(site.machine, site.places)


def test_regions_of_a_module_come_from_its_trace_events(site):
    site.world.machine.sleep(1)
    scene = top.Reader(site.machine, site.places).look(None)

    assert scene.kdamond is None
    assert [each.name for each in scene.modules] == ["damon_stat"]
    assert scene.why == "seen by trace events"
    (series,) = scene.series
    assert series.source.kdamond == "damon_stat"
    assert len(series.regions) > 0


def test_a_module_that_told_nothing_yet(site, monkeypatch):
    monkeypatch.setattr(trace_events, "possible", lambda _: False)
    scene = top.Reader(site.machine, site.places).look(None)

    assert scene.why == "`damon_stat` reports its regions by trace events only: none arrived"
    assert scene.series == ()


def test_regions_of_a_kdamond_of_ours_are_asked_for(site, reader):
    scene = reader.look(None)
    assert scene.kdamond["name"] == "look/vms"
    assert scene.kdamond["schemes"][0]["goals"] == []
    assert scene.kdamond["schemes"][0]["statistics"]["sz_tried"] > 0, "statistics are fresh, too"
    assert (len(scene.series[0].regions) > 2, scene.why) == (True, "")
    assert reader.look(99).slot == scene.slot, "one that has ended gives way to the first"
    (found,) = running(retrieve(site.machine), site.world.managed)
    assert not live.told(site.machine, found), "the kernel keeps none of them"


def test_what_others_asked_for_stays(site, reader):
    (found,) = running(retrieve(site.machine), site.world.managed)
    live.ask(site.machine, found)
    assert len(reader.look(None).series[0].regions) > 2
    assert live.told(site.machine, found)


def test_a_kdamond_by_its_name(reader):
    assert reader.find("look/vms") == 0
    with pytest.raises(UsageError) as raised:
        reader.find("other")
    assert raised.value.hint == "these run: `look/vms`"


def test_the_lock_is_held_for_long_only_for_who_asks(site, monkeypatch):
    text = LOOK.replace("APPLY", "apply_every: 5s")
    site.done("apply", site.policy("look", text))
    reader = top.Reader(site.machine, site.places)
    scene = reader.look(None)
    why = "asking would hold DAMON's lock for up to 5.0s: key l asks once"
    assert scene.why == f"seen by trace events: {why}"
    assert [each.source.origin for each in scene.series] == ["trace"]
    monkeypatch.setattr(trace_events, "possible", lambda machine: False)
    reader = top.Reader(site.machine, site.places)
    scene = reader.look(None)
    assert (scene.why, scene.series) == (why, ())
    asked = reader.look(None, willing=True)
    assert (len(asked.series), asked.why) == (1, "")
    assert reader.look(None).series == asked.series, "it stays, and grows old"


def test_what_no_trace_tells_is_said_as_before(site, monkeypatch):
    """tracefs is unreadable, no event comes, or an aggregation takes long."""

    def refused(machine, kdamonds, patience):
        raise KernelLacks("there is no tracefs")

    text = LOOK.replace("APPLY", "apply_every: 5s")
    site.done("apply", site.policy("look", text))
    for look in (refused, lambda machine, kdamonds, patience: []):
        monkeypatch.setattr(trace_events, "look", look)
        scene = top.Reader(site.machine, site.places).look(None)
        assert (scene.series, scene.why[:6]) == ((), "asking")
    monkeypatch.undo()
    slow = LOOK.replace(", APPLY", "").replace(
        "    schemes:", "    intervals: {aggregation: 3s}\n    schemes:"
    )
    site.done("apply", site.policy("look", slow))
    scene = top.Reader(site.machine, site.places).look(None)
    assert (scene.series, scene.why[:6]) == ((), "asking")


def test_a_copy_of_a_machine_is_read_as_it_is(site, reader):
    (found,) = running(retrieve(site.machine), site.world.managed)
    live.ask(site.machine, found)

    class Copy:
        writable = False

        def __getattr__(self, name):
            return getattr(site.machine, name)

    scene = top.Reader(Copy(), site.places).look(None)
    assert len(scene.series[0].regions) > 2
    assert live.told(site.machine, found)


def test_goals_are_measured(site):
    text = LOOK.replace(
        "APPLY",
        "quota: {size: 1MiB, every: 1s, goals: [{metric: node_mem_used_bp, target: 50%, node: 0}]}",
    )
    site.done("apply", site.policy("look", text))
    scene = top.Reader(site.machine, site.places).look(None)
    (goal,) = scene.kdamond["schemes"][0]["goals"]
    assert goal["current"] is not None


def test_a_paused_kdamond_is_not_waited_for(site, clock):
    """It tells nothing, and keys are to be answered meanwhile."""
    site.done("apply", site.policy("look", LOOK.replace("APPLY", "apply_every: 5s")))
    site.machine.write(f"{KDAMONDS}/0/contexts/0/pause", "Y")
    site.machine.write(f"{KDAMONDS}/0/state", "commit")
    reader = top.Reader(site.machine, site.places)
    since = clock.now

    assert not reader.look(None).why.startswith("seen by trace events")
    assert clock.now - since < 1


def test_nothing_runs(site):
    site.world.write("/sys/module/damon_stat/parameters/enabled", "N")
    reader = top.Reader(site.machine, site.places)
    assert reader.look(None).kdamond is None
    with pytest.raises(UsageError) as raised:
        reader.find("x")
    assert raised.value.hint == "`damonpolicy apply` starts some"


def test_others_are_asked_only_by_name(site):
    site.world.foreign(on=True)
    reader = top.Reader(site.machine, site.places)
    written = len(site.machine.log)
    scene = reader.look(None)
    why = "someone else's: `--kdamond 'slot 0'` would ask it for regions"
    assert scene.why == f"seen by trace events: {why}"
    assert len(scene.series[0].regions) > 2
    assert len(site.machine.log) == written
    assert reader.find("slot 0") == 0
    reader.named = 0
    assert "someone else" not in reader.look(None).why
