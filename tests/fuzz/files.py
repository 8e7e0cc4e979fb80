"""Mutated files of our own, and machine files: `python -m tests.fuzz.files --count 5000`.

Files with a checksum get a new one, so that their content is what is tried.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from damonpolicy.kernel.damon.tree import digest
from tests.conftest import Outcome
from tests.engine.site import Site, shipped
from tests.fuzz import harness, mutate

SEED = 20261201
MACHINE = """\
root = true
[[nodes]]
memory = "1GiB"
cpus = "0-1"
[[processes]]
name = "qemu-system-x86_64"
pid = 811
cgroup = "/machine.slice/vm-1.scope"
[[processes.areas]]
size = "256MiB"
rate = "80%"
age = "30s"
[[cgroups]]
path = "/idle.slice"
[settings]
"/proc/sys/vm/swappiness" = "10"
[modules]
damon_stat = true
[users]
alice = 1000
"""
COMMANDS = (("status",), ("diff",), ("history",), ("plan", "POLICY"), ("apply", "POLICY"), ("rollback",),
            ("remove", "ksm"), ("stop", "--all"), ("recover",), ("report", "snapshot"))  # fmt: skip


@cache
def corpus() -> dict[str, bytes]:
    """A state directory after two applies, by the path of each file, and a plan."""
    site = Site()
    try:
        site.done("apply", shipped("ksm"))
        site.run(
            "plan",
            shipped("ksm"),
            "--set",
            "cold_for=7m",
            "--out",
            str(site.directory / "plan.json"),
        )
        paths = [each for each in site.directory.rglob("*") if each.is_file()]
        return {str(each.relative_to(site.directory)): each.read_bytes() for each in paths}
    finally:
        shutil.rmtree(site.directory)


def signed(data: Any, chance: random.Random) -> bytes:
    """Change plain data, and give it the checksum that it has now."""
    data = copy.deepcopy(data)
    data.pop("digest", None)
    changed = mutate.of_data(data, chance)
    if isinstance(changed, dict):
        changed["digest"] = digest(changed)
    return json.dumps(changed).encode()


def mutated(name: str, chance: random.Random) -> bytes:
    data = corpus()[name]
    if name.endswith(".json") and "machine/" not in name and chance.random() < 0.85:
        return signed(json.loads(data), chance)
    return mutate.of_bytes(data, chance)


def names() -> list[str]:
    """Return the files that are changed."""
    return sorted(
        each
        for each in corpus()
        if each.endswith(("state.json", "machine.json", "plan.json", "1.json"))
    )


def case(number: int, place: Path) -> Outcome:
    """Run a command beside one changed file."""
    chance = random.Random(SEED * 1_000_003 + number)
    here = place / "state"
    shutil.rmtree(here, ignore_errors=True)
    for name, data in corpus().items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    kernel = ("--kernel", "emulated:7.3", "--state-dir", str(here))
    if number % 4 == 0:
        path = place / "machine.toml"
        way = mutate.of_bytes(MACHINE.encode(), chance) if chance.random() < 0.5 else (
            mutate.of_lines(MACHINE, chance).encode("utf-8", "replace")
        )  # fmt: skip
        path.write_bytes(way)
        shutil.rmtree(here)
        return harness.cli("status", *kernel, "--machine", str(path))
    name = chance.choice(names())
    (here / name).write_bytes(mutated(name, chance))
    if name == "plan.json":
        return harness.cli("apply", "--plan", str(here / name), *kernel)
    words = [shipped("ksm") if each == "POLICY" else each for each in chance.choice(COMMANDS)]
    return harness.cli(*words, *kernel)


if __name__ == "__main__":
    harness.main(case, "files", 5_000)
