"""Whatever is valid for a kernel can be applied there: random policies, on every kernel.

    python -m tests.property.appliable --count 20000
    python -m tests.property.appliable --count 500 --kernel 6.12 --seed 7

Each policy is checked as `validate --kernel` checks it. A valid one has to be applied, or be
refused before anything is written for a reason that only the machine knows. An errno, a roll-back
or a defect is a failure, and is shown with its seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import FeatureRefused, Terms, execute
from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.compile.loading import Source, compile_on, wanted
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from tests.property.by_chance import EMULATED, Maker
from tests.world import World

REFUSALS = (
    ExitCode.FAILED,
    ExitCode.INVALID,
    ExitCode.UNSUPPORTED,
    ExitCode.FOREIGN,
    ExitCode.BUSY,
)
"""How a valid policy may be refused before the first write: the machine does not fit it."""


@dataclass
class Tally:
    """How policies went, and those that failed."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))


def valid(text: str, capabilities: Capabilities) -> bool:
    """Ask as `validate --kernel` does."""
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    _, found = compile_policies(loaded, capabilities, None, Upkeep(unfed=True, served=True))
    return not any(each.severity == "error" for each in (*loaded.found, *found))


def applied(machine: Machine, places: Any, text: str) -> None:
    """Apply as `apply --unfed` does, and take it back; raises DamonPolicyError."""
    capabilities = detect(machine, retrieve(machine).tree)
    with changing(machine, places) as session:
        while True:
            loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)
            compiled = compile_on([Source(loaded)], machine, capabilities, unfed=True)
            policies = wanted(session.managed, compiled.policies)
            current, plan = prepare(machine, session.managed, policies, compiled.policies)
            if not plan.changes(session.managed):
                return
            try:
                session.managed = execute(
                    machine, current, plan, session.managed, session.store,
                    Terms("t", capabilities=capabilities),
                )  # fmt: skip
                break
            except FeatureRefused as refused:
                capabilities = refused.capabilities
        current, plan = prepare(machine, session.managed, {}, ())
        session.carry_out(current, plan, Terms("remove"))


def judge(machine: Machine, places: Any, text: str, capabilities: Capabilities) -> str:
    """Apply a policy if it is valid, and say how that went; a failure begins with `FAILED`."""
    try:
        if not valid(text, capabilities):
            return "invalid"
        applied(machine, places, text)
    except DamonPolicyError as error:
        told = "; ".join(each.message for each in error.diagnostics) or error.message
        if error.undone or error.exit_code not in REFUSALS:
            return f"FAILED {error.exit_code.name}: {told}"
        return f"refused before any write ({error.exit_code.name})"
    except Exception as error:  # noqa: BLE001 — a defect is what is looked for here
        return f"FAILED {type(error).__name__}: {error}"
    return "applied"


def run(
    count: int, kernels: Sequence[str], seed: int, tally: Tally, seconds: float = float("inf")
) -> None:
    """Try so many policies, each on the next kernel, or as many as there is time for."""
    end = time.monotonic() + seconds
    worlds: dict[str, World] = {}
    able: dict[str, Capabilities] = {}
    for number in range(count):
        if time.monotonic() > end:
            break
        kernel = kernels[number % len(kernels)]
        name = f"{seed}/{kernel}/{number}"
        text = json.dumps(Maker(name, EMULATED).policy())
        if kernel not in worlds:
            worlds[kernel] = World.make(kernel)
            machine = worlds[kernel].machine
            able[kernel] = detect(machine, snapshot(machine))
        world = worlds[kernel]
        outcome = judge(world.machine, world.places, text, able[kernel])
        if world.machine.poisoned:
            outcome = f"FAILED wrecked: {world.machine.poisoned}"
        if outcome.startswith("FAILED"):
            tally.failures.append(f"{name}: {outcome}\n  {text}")
            outcome = "FAILED"
        tally.counts[outcome] += 1
        if outcome == "FAILED" or tally.counts["applied"] % 50 == 0:
            worlds.pop(kernel).close()
    for world in worlds.values():
        world.close()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="valid implies appliable")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--kernel", action="append", choices=list(PROFILES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    tally = Tally()
    run(given.count, given.kernel or list(PROFILES), given.seed, tally, given.seconds)
    sys.stdout.write("".join(f"{each}\n" for each in tally.failures[:40]) + f"{tally}\n")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
