"""Each word of the language, in each place, on each kernel: refused, or one that its file takes."""

from __future__ import annotations

import typing

import pytest

from damonpolicy.emulated.damon.table import layout
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.profiles import PROFILES
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.model import filters, quotas, schemes
from damonpolicy.policy.source.files import SourceFile

TARGETS = {"paddr": "[{system_ram: true}]"} | dict.fromkeys(
    ("vaddr", "fvaddr"), "[{process: {name: nginx}%s}]"
)
REGIONS = ", regions: [{start: 0x1000, end: 0x9000}]"
MATCHES = {
    "memcg": "{memcg: /machine.slice}",
    "addr": "{addr: {start: 0, end: 4096}}",
    "target": "{target: 0}",
    "hugepage_size": "{hugepage_size: {min: 4KiB, max: 2MiB}}",
    "probe_hits_wsum": "{probe_hits_wsum: {max: 5}}",
}
WHATS = [*typing.get_args(filters.Page), *MATCHES.values()]
EXTRAS = {"node": "node: 0", "cgroup": "cgroup: /machine.slice"}


def kdamond(ops, rest="", scheme="action: stat"):
    targets = (
        TARGETS[ops] % (REGIONS if ops == "fvaddr" else "") if ops != "paddr" else TARGETS[ops]
    )
    return (
        f"version: 1\nname: p\nkdamonds:\n- name: k\n  ops: {ops}\n  targets: {targets}\n"
        f"{rest}  schemes:\n  - name: s\n    {scheme}\n"
    )


def goal(metric):
    target = "5" if metric == "user_input" else "5ms" if metric.endswith("_us") else "5%"
    needed = "".join(f", {EXTRAS[each]}" for each in sorted(quotas.METRICS[metric] - {"from"}))
    return (
        f"quota: {{size: 1MiB, every: 1s, goals: [{{metric: {metric}, target: {target}{needed}}}]}}"
    )


def policies():
    for ops in TARGETS:
        for action in typing.get_args(schemes.Action):
            to = "\n    to: 1" if action.startswith("migrate") else ""
            yield kdamond(ops, scheme=f"action: {action}{to}\n    quota: unlimited")
        for what in WHATS:
            for action in ("stat", "pageout"):
                for verb in ("reject", "allow"):
                    one = f"filters: [{{{verb}: {what}}}]"
                    yield kdamond(ops, scheme=f"action: {action}\n    quota: unlimited\n    {one}")
        for what in WHATS:
            probe = f"{{name: q, weight: 1, filters: [{{allow: {what}}}]}}"
            yield kdamond(ops, f"  probes: [{probe}]\n")
            yield kdamond(ops, f"  probes: [{probe.replace('weight: 1', 'preps: [set_pgidle]')}]\n")
        for metric in typing.get_args(quotas.Metric):
            for tuner in typing.get_args(quotas.TunerName):
                wanted = goal(metric).replace("size:", f"tuner: {tuner}, size:")
                yield kdamond(ops, scheme=f"action: pageout\n    {wanted}")
        for metric in ("none", "free_mem_rate"):
            marks = f"{{metric: {metric}, every: 5s, high: 50%, mid: 40%, low: 20%}}"
            yield kdamond(ops, scheme=f"action: stat\n    watermarks: {marks}")
        for accesses in ("{kind: write}", "{kind: read}", "{cpus: 0-1}", "{threads: [1]}"):
            yield kdamond(ops, f"  accesses: {accesses}\n")


def said(kdamond):
    """The files of a compiled kdamond with their contents; cgroups are not looked up."""
    yield from kdamond.files.items()
    for directory, lines in kdamond.filters.items():
        for line in lines:
            yield from ((f"{directory}/0/{name}", text) for name, text in line.files.items())


@pytest.mark.parametrize("version", PROFILES)
def test_what_is_valid_on_a_kernel_is_a_word_that_its_file_takes(version):
    machine = EmulatedMachine.create(version)
    capabilities = detect(machine, snapshot(machine))
    files = layout(PROFILES[version]).files
    seen = 0
    for text in policies():
        loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
        compiled, found = compile_policies(
            loaded, capabilities, None, Upkeep(unfed=True, served=False)
        )
        if any(each.severity == "error" for each in (*loaded.found, *found)):
            continue
        for path, content in said(compiled["p"].kdamonds[0]):
            file = files[pattern(f"0/{path}").replace("0/", "*/", 1)]
            assert file.kind != "word" or content in file.words, (path, content, text)
            seen += file.kind == "word"

    assert seen > 30
