"""The plan: operations in order, with settings, staging, commits, starts, stops, modules.

A pure function of the current machine, the managed set, and the wanted set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from damonpolicy.base.errors import Foreign
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import module_of
from damonpolicy.kernel.damon.tree import Tree, configuration, differing, kdamond_path, startable
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds
from damonpolicy.kernel.operation import Operation, Phase
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.plan import modules, online, remarks, settings
from damonpolicy.plan.bind import Bound, Waits
from damonpolicy.plan.diff import changes
from damonpolicy.plan.ir import CompiledPolicy, by_name
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.normal import in_effect
from damonpolicy.plan.plan import Action, KdamondPlan, Plan
from damonpolicy.plan.state import Managed

__all__ = ("Wanted", "make_plan")

FEWEST_SLOTS = 8
"""Spare slots for later policies, as the number cannot change while a kdamond runs."""

_PHASES = get_args(Phase)

EMPTY = {each.path: "0" for each in (Kdamond().contexts, Kdamond().refresh)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted managed set.

    ``bound`` holds the kdamonds of the policies that are applied now, by full name, or what they
    wait for; kdamonds of other policies in ``policies`` stay as they are.
    """

    policies: Mapping[str, CompiledPolicy]
    bound: Mapping[str, Bound | Waits]
    affected: tuple[str, ...] = ()
    takeover: bool = False


def make_plan(current: Current, managed: Managed, wanted: Wanted) -> Plan:
    """Plan a transaction.

    Raises Foreign if a slot or a module of someone else is in the way.
    """
    draft = _Draft(current, managed, wanted)
    draft.settle()
    return draft.plan()


class _Draft:
    def __init__(self, current: Current, managed: Managed, wanted: Wanted) -> None:
        self.current = current
        self.managed = managed
        self.wanted = wanted
        self.operations: list[Operation] = []
        """Those of slots; their phases put them in order."""
        self.kdamonds: list[KdamondPlan] = []
        self.owners = {slot: current.owner(slot, managed) for slot in current.slots}
        self.slots_before = managed.slots_before
        self.grown = 0
        self.lost: Mapping[str, str] = {}

    def settle(self) -> None:
        """Decide for every kdamond, then for the slots and the settings."""
        wanted = by_name(self.wanted.policies)
        ours = {
            record.kdamond: slot
            for slot, record in self.managed.slots.items()
            if self.owners.get(slot) == "ours"
        }
        self.remarks = [
            f"slot {slot} of `{record.kdamond}` was changed by someone else: it is theirs now"
            for slot, record in self.managed.slots.items()
            if record.kdamond not in ours
        ]
        retiring = {name: slot for name, slot in ours.items() if name not in wanted}
        ending = dict(retiring)
        placed = self._place(ours, retiring)
        adopted = {slot for slot, action in placed.values() if action == "adopt"}
        ran = {name: self.managed.slots[slot].files for name, slot in ending.items()
               if slot not in adopted and self.current.running(slot)}  # fmt: skip
        anew = [name for name, (_, action) in placed.items() if action in ("start", "restart")]
        self.lost = remarks.lost(ran, self.wanted.bound, anew)
        for name, bound in self.wanted.bound.items():
            if isinstance(bound, Waits):
                if name in ours:
                    self._stop(name, ours[name], "wait", bound.what)
                else:
                    self.kdamonds.append(KdamondPlan(name, -1, "wait", waits_for=bound.what))
            else:
                self._run(name, bound, *placed[name])
        for name, slot in ours.items():
            if name in retiring:
                self._stop(name, slot, "stop")
            elif name in wanted and name not in self.wanted.bound:
                self._leave(name, slot)
        self._shrink()
        self._settings()

    def _place(
        self, ours: Mapping[str, int], retiring: dict[str, int]
    ) -> dict[str, tuple[int, Action]]:
        """Give each kdamond a slot: its own, an equal one, a free one, or a retiring one.

        A kdamond whose slot is reused is removed from ``retiring``.
        """
        placed: dict[str, tuple[int, Action]] = {}
        seeking = []
        for name, bound in self.wanted.bound.items():
            if isinstance(bound, Waits):
                continue
            if name in ours:
                placed[name] = (ours[name], "change")
                continue
            same = self._equal(bound, {slot for slot, _ in placed.values()}, retiring)
            if same is None:
                seeking.append(name)
            else:
                placed[name] = (same, "adopt")
                retiring.pop(next((old for old in retiring if retiring[old] == same), ""), None)
        free = [slot for slot, owner in self.owners.items() if owner == "free"]
        if len(free) < len(seeking):
            free = self._grow(free, len(seeking), set(ours.values()))
        taken = {slot for slot, _ in placed.values()}
        foreign = [s for s, owner in self.owners.items() if owner == "foreign" and s not in taken]
        for name in seeking:
            if free:
                placed[name] = (free.pop(0), "start")
            elif retiring:
                placed[name] = (retiring.pop(next(iter(retiring))), "restart")
            elif self.wanted.takeover and foreign:
                placed[name] = (foreign.pop(0), "restart")
            else:
                raise self._no_slot(name, foreign)
        return placed

    def _equal(self, bound: Bound, taken: set[int], retiring: Mapping[str, int]) -> int | None:
        """Find a running kdamond that equals the wanted one: nobody's, or ours by another name."""
        for slot, owner in self.owners.items():
            record = self.managed.slots.get(slot) if slot in retiring.values() else None
            if (
                slot in taken
                or not self.current.running(slot)
                or not (record or owner == "foreign")
            ):
                continue
            committed = record is None or (
                record.members == bound.members and _alike(record.files, bound.files)
            )
            if committed and _alike(self.current.slot(slot), bound.files):
                return slot
        return None

    def _grow(self, free: list[int], needed: int, used: set[int]) -> list[int]:
        """Make slots if none is in use: a write to nr_kdamonds wipes them all."""
        if used or len(free) < len(self.owners):
            return free
        if self.managed.slots_before is None:
            self.slots_before = len(self.current.slots)
        self.grown = max(FEWEST_SLOTS, needed)
        self.operations.append(_slots(len(self.current.slots), self.grown))
        return list(range(self.grown))

    def _no_slot(self, name: str, foreign: Sequence[int]) -> Foreign:
        running = [slot for slot in foreign if self.current.running(slot)]
        if running:
            slot = running[0]
            what = f"slot {slot} runs a kdamond of someone else (pid {self.current.pid(slot)})"
            hint = "stop it, or take it over with `--takeover`"
        elif foreign:
            slot = foreign[0]
            what = f"slot {slot} is configured by someone else, though it is off"
            # a write to nr_kdamonds would wipe all slots, and is refused while any kdamond runs
            wipe = " and ".join(
                f"`echo {value} > {kdamond_path(slot, path)}`"
                for path, value in EMPTY.items()
                if self.current.slot(slot).get(path, value) != value
            )
            hint = f"wipe it ({wipe}), or take it over with `--takeover`"
        else:
            what = f"kdamonds of ours take all {len(self.owners)}"
            hint = (
                "the number of slots can change only while no kdamond runs: `damonpolicy stop --all`,"
                " then apply all policies in one call, or `damonpolicy remove NAME` ends one"
            )
        return Foreign(f"there is no free slot for `{name}`: {what}", hint=hint)

    def _run(self, name: str, bound: Bound, slot: int, action: Action) -> None:
        before = {} if self.grown else self.current.slot(slot)
        record = self.managed.slots.get(slot)
        running = bool(before) and self.current.running(slot)
        said = [self.lost[name]] if name in self.lost else []
        cgroups: Mapping[str, int] = bound.cgroups
        if action != "start":
            said += remarks.of_kdamond(name, self.managed.policies, bound.kdamond)
        if action == "adopt":
            mine = record if self.owners.get(slot) == "ours" else None
            was = f"was `{mine.kdamond}`, and " if mine else ""
            said.append(f"{was}runs already as wanted: adopted without a write")
            after: Tree = before
            # another program that committed it may have meant others
            cgroups = mine.cgroups if mine else {}
        elif running and record and action == "change":
            done = online.change(slot, before, bound, record)
            action, after = done.action, done.tree
            said += done.remarks
            self.operations += done.operations
        else:
            if action == "restart" and self.owners.get(slot) == "foreign":
                said.append("taken over from someone else")
            elif action == "restart" and record:
                said.append(f"takes the place of `{record.kdamond}`, which ends")
            elif action == "change":
                action = "start"
            fresh = {path: value for path, value in EMPTY.items() if path in bound.files}
            operations, after = changes(slot, before or fresh, bound.files, anew=True)
            self.operations += [*operations, *online.started(slot, running=running)]
        self.kdamonds.append(
            KdamondPlan(
                name=name,
                slot=slot,
                action=action,
                before=configuration(before),
                after=startable(after)
                if action in ("start", "restart", "change")
                else configuration(after),
                names=bound.kdamond.names,
                names_before=record.names if record else {},
                members=bound.members,
                remarks=tuple(said),
                cgroups=cgroups,
                left_out=bound.left_out,
            )
        )

    def _leave(self, name: str, slot: int) -> None:
        """Keep a kdamond of a policy that is not being applied, as it is."""
        record = self.managed.slots[slot]
        tree = configuration(self.current.slot(slot))
        self.kdamonds.append(
            KdamondPlan(
                name, slot, "keep", tree, record.files, record.names, record.names, record.members,
                cgroups=record.cgroups,
            )
        )  # fmt: skip

    def _stop(self, name: str, slot: int, action: Action, waits_for: str = "") -> None:
        before = self.current.slot(slot)
        if self.current.running(slot):
            self.operations.append(Operation.command(slot, "off", phase="stop"))
        empty = {path: value for path, value in EMPTY.items() if path in before}
        operations, after = changes(slot, before, empty, "stop")
        self.operations += operations
        record = self.managed.slots[slot]
        self.kdamonds.append(
            KdamondPlan(
                name=name,
                slot=slot,
                action=action,
                before=configuration(before),
                after=configuration(after),
                names_before=record.names,
                waits_for=waits_for,
            )
        )

    def _shrink(self) -> None:
        """Remove the slots once none is used; someone else's stay untouched."""
        before = self.managed.slots_before
        others = [slot for slot, owner in self.owners.items() if owner == "foreign"]
        if before is None or others or any(each.runs for each in self.kdamonds):
            return
        if len(self.current.slots) != before:
            self.operations.append(_slots(len(self.current.slots), before, "stop"))
        self.slots_before = None

    def _settings(self) -> None:
        """Decide about settings, DAMON's modules among them: none runs beside a kdamond."""
        theirs = {slot for slot, owner in self.owners.items() if owner == "foreign"}
        theirs -= {each.slot for each in self.kdamonds}
        foreign = [slot for slot in sorted(theirs) if self.current.running(slot)]
        busy = bool(foreign) or any(each.runs for each in self.kdamonds)
        wanted = self.wanted
        plans = settings.plan(self.current, self.managed, wanted.policies, wanted.affected)
        self.settings = modules.settled(plans, self.current, self.managed, busy=busy)
        modules.refuse_others(
            self.current,
            wanted.policies,
            self.settings,
            starts=any(each.phase == "start" for each in self.operations),
            foreign=foreign,
        )

    def _turn(self, operation: Operation) -> tuple[int, bool]:
        """Order by phases; risky writes go to idle slots before running ones are touched."""
        runs = operation.slot in self.owners and self.current.running(operation.slot)
        return _PHASES.index(operation.phase), operation.phase == "stage" and runs

    def plan(self) -> Plan:
        """Put everything in order."""
        wanted = self.wanted
        changed = remarks.of_policies(self.managed.policies, wanted.policies, wanted.affected)
        own, said = modules.steps(self.current, self.settings)
        others = (
            settings.operation(each, "restore" if each.restored else "settings")
            for each in self.settings
            if not module_of(each.path)
        )
        operations = [*own, *filter(None, others), *self.operations]
        return Plan(
            machine=self.current.machine,
            release=self.current.host.release,
            boot_id=self.current.host.boot_id,
            fingerprint=self.current.fingerprint(self.managed),
            policies=dict(wanted.policies),
            kdamonds=tuple(self.kdamonds),
            settings=tuple(self.settings),
            operations=tuple(sorted(operations, key=self._turn)),
            slots_before=self.slots_before,
            affected=wanted.affected,
            takeover=wanted.takeover,
            remarks=(*self.remarks, *changed, *settings.remarks(self.settings), *said),
        )


def _alike(current: Tree, desired: Tree) -> bool:
    return not differing(in_effect(current), in_effect(desired))


def _slots(before: int, after: int, phase: Phase = "stage") -> Operation:
    return Operation("count", phase, f"{KDAMONDS}/{Kdamonds().count.path}", str(before), str(after))
