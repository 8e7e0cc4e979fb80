"""The job of the loops: measurements, and transactions that move settings, quotas and ages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import contained, tell
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.meters import meter, pause, soonest, troubles, turns
from damonpolicy.daemon.scheduler import Job
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.system.machine import read_or
from damonpolicy.plan.ir import CompiledPolicy, Loop
from damonpolicy.plan.loops import moved, value
from damonpolicy.tuning.loops import State, step
from damonpolicy.tuning.sources import Meter, Stale

__all__ = ("TuneJob",)

_Key = tuple[str, str]
_Moves = dict[str, dict[_Key, str]]
"""Values by policy, then by kdamond and path."""


@dataclass(slots=True)
class _Running:
    """A loop, and its state; times are of the machine's clock."""

    policy: str
    loop: Loop
    meters: tuple[Meter, ...]
    due: float
    fresh: float
    """When the last number was read, or the loop began."""
    state: State = field(default_factory=State)
    trouble: str = ""

    @property
    def key(self) -> _Key:
        """The moved value: no two loops of a policy move the same."""
        return self.loop.kdamond, self.loop.path

    @property
    def name(self) -> str:
        """The policy and the loop."""
        return f"{self.policy}/{self.loop.name}"


@dataclass(slots=True)
class TuneJob(Job):
    """The job that runs the loops of the service's policies, each at its own time."""

    keeper: Keeper
    due: float = 0.0
    """Also called after each reload: a loop's history ends with its policy, even if that
    returns.
    """
    moves: int = 0
    _running: dict[tuple[str, _Key], _Running] = field(default_factory=dict)

    def troubles(self) -> Mapping[str, str]:
        """Return the reasons why loops do not move, by policy and loop."""
        return troubles(self._running.values())

    def errors(self) -> Mapping[str, float]:
        """Return the errors of loops, as shares, by policy and loop."""
        return {
            each.name: each.state.error
            for each in self._running.values()
            if each.state.error is not None
        }

    def run(self) -> None:
        """Run the loops that are due; their moves are one transaction per policy."""
        machine = self.keeper.machine
        self._renew()
        moves: _Moves = {}
        told: dict[tuple[str, _Key], str] = {}
        for each in turns(self._running.values(), machine.monotonic()):
            each.due = max(machine.monotonic(), each.due + each.loop.every / 1e6)
            try:
                with contained():
                    told[each.policy, each.key] = self._step(each, moves)
            except DamonPolicyError as error:  # of this loop alone
                told[each.policy, each.key] = error.message
        if moves and self.keeper.watches:
            self.keeper.table.update()
        for policy, values in moves.items():
            if why := self._move(policy, values):
                told |= {(policy, key): why for key in values}
        for place, why in told.items():
            each = self._running[place]
            each.trouble = tell("tune", why, each.trouble, policy=each.policy, loop=each.loop.name)
        self.due = soonest(self._running.values(), machine.monotonic())

    def _renew(self) -> None:
        """Take the loops of the managed set; those that stay keep their state."""
        keeper, now = self.keeper, self.keeper.machine.monotonic()
        found: dict[tuple[str, _Key], _Running] = {}
        for name, policy in keeper.policies().items():
            for loop in policy.loops:
                key = (name, (loop.kdamond, loop.path))
                known = self._running.get(key)
                if known is None or known.loop != loop:
                    meters = tuple(meter(each, keeper) for each in loop.sources)
                    known = _Running(name, loop, meters, now, now)
                found[key] = known
        self._running = found

    def _step(self, running: _Running, moves: _Moves) -> str:
        """Compute a loop's move into ``moves``; returns the reason if it does not move."""
        keeper, loop = self.keeper, running.loop
        policy, now = keeper.managed().policies[running.policy], keeper.machine.monotonic()
        held = value(policy, loop)
        if held is None:
            return f"`{loop.path}` is not set"
        trouble = self._touched(policy, loop, held)
        if trouble:
            return trouble
        try:
            measured = [each.read() for each in running.meters]
        except Stale as error:
            # never act on old numbers: it stays where it is, and finally falls back
            running.state = running.state.blind()
            law = loop.law
            last = running.fresh + law.get("fall_back_after", math.inf) / 1e6
            again = keeper.machine.monotonic() + pause(running.meters)
            running.due = max(running.due, again if last <= now else min(again, last))
            if last <= now:
                self._want(running, held, int(law["fall_back"]), moves)
            return str(error)
        running.fresh = now
        try:
            wanted, running.state = step(loop.law, int(normalise(held)), measured, running.state)
        except ZeroDivisionError:
            return "it measures nothing"
        self._want(running, held, wanted, moves)
        return ""

    def _want(self, running: _Running, held: str, wanted: int, moves: _Moves) -> None:
        """Record a value, if it is new and a commit may follow now."""
        loop, keeper = running.loop, self.keeper
        if wanted == int(normalise(held)):
            return
        now = keeper.machine.monotonic()
        for each in keeper.managed().policies[running.policy].kdamonds:
            if each.name == loop.kdamond and (ready := keeper.ready(each, now)) > now:
                running.due = ready
                return
        moves.setdefault(running.policy, {})[running.key] = str(wanted)

    def _touched(self, policy: CompiledPolicy, loop: Loop, held: str) -> str:
        """Describe somebody else's change to the loop's file: then we do not move it."""
        machine, managed = self.keeper.machine, self.keeper.managed()
        path = loop.path
        if loop.kdamond:
            slot = managed.slot_of(f"{policy.name}/{loop.kdamond}")
            if slot is None:
                return f"`{policy.name}/{loop.kdamond}` does not run"
            path = kdamond_path(slot, loop.path)
        if normalise(read_or(machine, path)) != normalise(held):
            return f"`{path}` was changed by someone"
        return ""

    def _move(self, policy: str, values: Mapping[_Key, str]) -> str:
        """Carry out the moves of a policy's loops; returns the reason of a failure."""
        keeper = self.keeper
        try:
            with keeper.changing() as session:
                policies = session.managed.policies
                if policy not in policies:
                    return ""
                anew = {**policies, policy: moved(policies[policy], values)}
                terms = Terms("a loop moves what it tunes", follows=True)
                plan = keeper.bring(session, anew, [policy], terms, keeper.table.find)
        except DamonPolicyError as error:
            return str(error)
        if plan is not None:
            self.moves += 1
            log.debug("tuned", values={path: text for (_, path), text in values.items()})
        return ""
