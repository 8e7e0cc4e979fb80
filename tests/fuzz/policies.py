"""Mutated policies, through `validate` and `plan`: `python -m tests.fuzz.policies --count 100000`."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import yaml

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import machines
from tests.conftest import Outcome
from tests.fuzz import harness, mutate
from tests.world import ROOT

SEED = 20261129
KERNELS = ("5.18", "6.12", "7.3", "damon-next")
STRANGE = ["0", "-1", "9" * 300, "1_000", "010", "5", "5m", "2GiB", "0%", "101%", "x", "", "/..", "\u00a0",
           "0-99999", "{{ x }}", "all", "max", "(x+)+y", "x" * 5_000, *mutate.TEMPLATES]  # fmt: skip


@cache
def corpus() -> list[bytes]:
    """The policies that are shipped, and those of tests."""
    often = {"policies/*.yaml": 40, "tests/golden/*/*.yaml": 2, "tests/errors/*/*.yaml": 1}
    paths = [path for place, times in often.items() for path in sorted(ROOT.glob(place)) * times]
    return [path.read_bytes() for path in paths]


@cache
def machine(kernel: str) -> EmulatedMachine:
    """One machine of each kernel: nothing here writes to it."""
    return EmulatedMachine.create(kernel.partition(":")[2])


def made(number: int) -> bytes:
    """Return the policy of a case."""
    chance = random.Random(SEED * 1_000_003 + number)
    text = chance.choice(corpus())
    other = chance.choice(corpus())
    kind = chance.random()
    if kind < 0.4:
        return mutate.of_bytes(text, chance, other)
    whole = text.decode("utf-8", "replace")
    if kind < 0.7:
        return mutate.of_lines(whole, chance, other.decode("utf-8", "replace")).encode()
    try:
        data = yaml.load(whole, Loader=yaml.BaseLoader)  # texts only
    except yaml.YAMLError:
        return mutate.of_bytes(text, chance, other)
    changed = mutate.of_data(data, chance, [*STRANGE, [], {}, ["x"], {"x": "y"}, ["0"] * 600])
    return yaml.safe_dump(changed, allow_unicode=True, sort_keys=False).encode()


def case(number: int, place: Path) -> Outcome:
    """Check and plan one policy; the worse of the two results counts."""
    machines.open_machine = lambda kernel, *_, **__: machine(kernel)
    path = place / "p.yaml"
    path.write_bytes(made(number))
    kernel = ("--kernel", f"emulated:{KERNELS[number % len(KERNELS)]}", "--state-dir", str(place))
    checked = harness.cli("validate", str(path), *kernel)
    planned = harness.cli("plan", str(path), *kernel)
    return checked if checked.code == 70 else planned


if __name__ == "__main__":
    harness.main(case, "policies", 100_000)
