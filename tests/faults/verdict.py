"""The verdict on a run: before, after, or 81 with a journal that `recover` completes."""

from __future__ import annotations

from damonpolicy.base.errors import DamonPolicyError, ExitCode, RollbackIncomplete, system_error
from damonpolicy.engine import journal
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.plan.machine_state import retrieve


def attempt(do):
    """Do something; return the error that the command line would tell, or None."""
    try:
        do()
    except DamonPolicyError as error:
        return error
    except OSError as error:  # as `cli/main.py` tells it: before anything was done
        return system_error(error)
    return None


def violation(scenario, error, *, mortal=False, unseen=False, blind=False):
    """Return how the promise was broken, or an empty text; faults are over by now.

    ``mortal``: a kdamond ended by itself, which no undo has to put back; ``unseen``: it did so
    after the last look. ``blind``: something of a process could not be read, so it was not chosen.
    """
    now = scenario.world.look()
    if isinstance(error, RollbackIncomplete):
        if journal.read(scenario.world.places.journal) is None:
            return "81 without a journal"
        again = attempt(scenario.recover)
        if again is not None:
            return f"81, then recover: {again}"
        now = scenario.world.look()
        # a command after the deadline continues the roll-back
        wanted = scenario.after if scenario.operation == "expiry" else scenario.before
        if not _same(now, wanted, mortal=mortal):
            return f"81, and after `recover` {difference(wanted, now)}"
        return _state(scenario, now)
    if journal.read(scenario.world.places.journal) is not None:
        return f"a journal is left: {error}"
    if error is None:
        wanted = scenario.after
        if blind:
            now, wanted = _untargeted(now), _untargeted(wanted)
        if not _same(now, wanted, mortal=unseen):
            return f"done, and {difference(wanted, now)}"
        return _state(scenario, now)
    if error.exit_code in (ExitCode.INTERNAL, ExitCode.USAGE):
        return f"exit {int(error.exit_code)}: {error}"
    if not _same(now, scenario.before, mortal=mortal):
        return f"{int(error.exit_code)} {error}; {difference(scenario.before, now)}"
    return _state(scenario, now)


def _state(scenario, now):
    """The state file has to agree with the machine, and the machine has to be ours to change."""
    boot = look(scenario.machine).boot_id
    managed = Store(scenario.world.places).managed(boot)
    current = retrieve(scenario.machine, managed.settings)
    for slot, record in managed.slots.items():
        on = current.running(slot)
        if on and current.owner(slot, managed) != "ours":
            return f"slot {slot} of {record.kdamond} is {current.owner(slot, managed)} afterwards"
    for slot in current.slots:
        if current.running(slot) and slot not in managed.slots and not scenario.spec:
            return f"slot {slot} runs and nobody knows it"
    return ""


def _untargeted(seen):
    return {p: v for p, v in seen.items() if "/targets/" not in p and not p.endswith("/runs")}


def _same(now, wanted, *, mortal):
    if now == wanted:
        return True
    if not mortal:
        return False
    ended = {path for path in wanted if path.endswith(("/runs", "/state"))}
    return {p: v for p, v in now.items() if p not in ended} == {
        p: v for p, v in wanted.items() if p not in ended
    }


def difference(wanted, now):
    """Name the first files that differ."""
    wrong = [path for path in sorted({*wanted, *now}) if wanted.get(path) != now.get(path)]
    shown = [
        f"{path}: {str(wanted.get(path))[:40]!r} → {str(now.get(path))[:40]!r}"
        for path in wrong[:3]
    ]
    return f"{len(wrong)} differ: {'; '.join(shown)}"
