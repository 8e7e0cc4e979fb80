"""When schemes of two kdamonds do the same to the same memory."""

from __future__ import annotations

import pytest

from damonpolicy.policy.compile.policies import Overrides, load
from damonpolicy.policy.source.files import SourceFile

MIB = 1 << 20
SCHEME = "{name: s, action: lru_deprio, access_pattern: {age: {min: 1m}}}"


def found(*kdamonds, policies=1):
    """The findings about twice, of kdamonds of one policy or of one each."""
    lines = [f"{{name: k{index}, {text}}}" for index, text in enumerate(kdamonds)]
    texts = [", ".join(lines)] if policies == 1 else lines
    files = [
        SourceFile(f"{index}.yaml", f"version: 1\nname: p{index}\nkdamonds: [{text}]\n")
        for index, text in enumerate(texts)
    ]
    loaded = load(files, Overrides(), machine=None)
    assert not [each for each in loaded.found if each.severity == "error"], loaded.found
    return [each.message for each in loaded.found if each.code == "DP0609"]


def paddr(target, scheme=SCHEME, more=""):
    return f"ops: paddr, targets: [{target}], schemes: [{scheme}]{more}"


def region(start, end):
    return f"{{regions: [{{start: {start * MIB:#x}, end: {end * MIB:#x}}}]}}"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("{system_ram: true}", "{system_ram: true}"), ("{system_ram: true}", "{numa_node: 1}"),
        ("{numa_node: 1}", "{numa_node: 1}"), (region(1, 3), region(2, 4)),
        ("{system_ram: true}", region(1, 2)),
    ],
)  # fmt: skip
def test_on_memory_that_both_monitor(one, two):
    assert found(paddr(one), paddr(two)) == [
        "`s` does what `s` of `p0/k0` does, on the same memory"
    ]


def test_in_two_policies():
    both = paddr("{system_ram: true}"), paddr("{numa_node: 0}")
    assert len(found(*both, policies=2)) == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (paddr("{numa_node: 0}"), paddr("{numa_node: 1}")),
        (paddr(region(1, 2)), paddr(region(2, 3))),
        (paddr("{numa_node: 0}"), paddr(region(1, 2))),
        (paddr("{system_ram: true}"), paddr("{system_ram: true}", SCHEME.replace("1m", "2m"))),
        (paddr("{system_ram: true}"),
         paddr("{system_ram: true}", SCHEME.replace("}}}", "}}, filters: [{reject: anon}]}"))),
        (paddr("{system_ram: true}"), paddr("{system_ram: true}", more=", accesses: {kind: write}")),
        (paddr("{system_ram: true}", SCHEME.replace("lru_deprio", "stat")),) * 2,
        (paddr("{system_ram: true}"), paddr("{system_ram: true}", more=", when: {feature: pause}")),
        (paddr("{system_ram: true}"),
         f"ops: vaddr, targets: [{{process: {{pid: 7}}}}], schemes: [{SCHEME.replace('lru_deprio', 'cold')}]"),
    ],
)  # fmt: skip
def test_other_memory_or_other_work(one, two):
    assert found(one, two) == []
