"""Single and double faults of the kernel's answers, drawn at random from a seed.

`python -m tests.faults.kernel --single 5000 --double 24000 --jobs 2` prints how many were tried,
how they ended, and every violation with the numbers that reproduce it.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"

from tests.faults.faulty import KINDS, READS, WRITES, Fault, FaultyMachine
from tests.faults.scenarios import Scenario, scenarios
from tests.faults.verdict import attempt, violation

PAIRS = (("write", "write"), ("write", "read"), ("read", "read"))


def calls(scenario: Scenario, faults=()) -> list[str]:
    """Return the calls that an operation makes, under faults."""
    scenario.begin()
    machine = FaultyMachine(scenario.machine, faults)
    attempt(lambda: scenario.do(machine))
    return machine.calls


def fault(chance: random.Random, made: list[str], wanted: str, behind: int = 0) -> Fault | None:
    """Choose a fault at a kind of call that comes after the ``behind``-th."""
    places = [
        number
        for number, call in enumerate(made, 1)
        if number > behind and call.startswith("write") == (wanted == "write")
    ]
    if not places:
        return None
    kinds = KINDS if wanted == "write" else ("error", "error", "dies", "lock")
    codes = WRITES if wanted == "write" else READS
    return Fault(chance.choice(places), chance.choice(kinds), chance.choice(codes))


def tried(scenario: Scenario, faults) -> tuple[str, str]:
    """Try an operation under faults; return what it ended in, and how it broke its promise."""
    scenario.before, scenario.after  # noqa: B018 — known before anything goes wrong
    scenario.begin()
    machine = FaultyMachine(scenario.machine, faults)
    error = attempt(lambda: scenario.do(machine))
    scenario.machine._slept += 3600  # whatever was held has been let go
    mortal = any(each.kind == "dies" for each in machine.hit)
    broken = violation(
        scenario, error, mortal=mortal, unseen=machine.died_unseen, blind=machine.blind
    )
    if scenario.machine.poisoned:
        broken = f"a real kernel would be wrecked: {scenario.machine.poisoned}"
    return str(int(error.exit_code)) if error else "0", broken


def cases(scenario: Scenario, single: int, double: int, seed: int):
    """Draw faults for one scenario."""
    chance = random.Random(f"{seed} {scenario.name}")
    made = calls(scenario)
    for number in range(single):
        one = fault(chance, made, ("write", "read")[number % 2]) or fault(chance, made, "read")
        yield (one,)
    for number in range(double):
        first, second = PAIRS[number % len(PAIRS)]
        one = fault(chance, made, first) or fault(chance, made, "read")
        two = fault(chance, calls(scenario, (one,)), second, one.at)
        yield (one, two) if two else (one,)


def run(index: int, single: int, double: int, seed: int):
    """Try one scenario; return counts by how many faults and by exit code, and violations."""
    scenario = _nth(index)
    counts, broken = collections.Counter(), []
    for faults in cases(scenario, single, double, seed):
        code, reason = tried(scenario, faults)
        counts[len(faults), code] += 1
        if reason:
            broken.append(f"{scenario.name}: {faults}: {reason}")
    scenario.close()
    return counts, broken


def _nth(index: int) -> Scenario:
    for number, scenario in enumerate(scenarios()):
        if number == index:
            return scenario
        scenario.close()
    raise IndexError(index)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kernel", description=__doc__)
    parser.add_argument("--single", type=int, default=5000)
    parser.add_argument("--double", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "-k", dest="word", default="", help="only scenarios with this in their name"
    )
    options = parser.parse_args()
    found = list(scenarios())
    chosen = [n for n, each in enumerate(found) if options.word in each.name]
    for each in found:
        each.close()
    single = -(-options.single // len(chosen))
    double = -(-options.double // len(chosen))
    total, broken = collections.Counter(), []
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run, n, single, double, options.seed) for n in chosen]
        for job in jobs:
            counts, reasons = job.result()
            total += counts
            broken += reasons
            for reason in reasons:
                print(reason, flush=True)
    for faults in (1, 2):
        ends = {code: n for (each, code), n in sorted(total.items()) if each == faults}
        print(
            f"{faults} fault{'s' * (faults > 1)}: {sum(ends.values())} tried, by exit code {ends}"
        )
    print(f"{len(chosen)} scenarios, {len(broken)} violations")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
