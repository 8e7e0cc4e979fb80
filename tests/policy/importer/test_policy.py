"""Policies made of kernels' trees: what people read, and what is told where it cannot be said."""

from __future__ import annotations

import tomllib

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import slot_tree, snapshot
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.policy.importer.policy import Source, policy
from damonpolicy.policy.importer.result import UNSAID
from tests.world import APPLIES, ROOT, World

A = "0/contexts/0/monitoring_attrs"
S = "0/contexts/0/schemes/0"
T = "0/contexts/0/targets"
GOLDEN = ROOT / "tests" / "golden"


def machine(version="7.3", *writes, ops="paddr", schemes=1):
    """A kdamond of plain writes that watches a piece of memory, or nginx."""
    made = EmulatedMachine.create(version)
    staged = [
        ("nr_kdamonds", 1), ("0/contexts/nr_contexts", 1), ("0/contexts/0/operations", ops),
        (f"{T}/nr_targets", 1),
    ]  # fmt: skip
    if ops == "paddr":
        staged += [(f"{T}/0/regions/nr_regions", 1), (f"{T}/0/regions/0/start", 1 << 20),
                   (f"{T}/0/regions/0/end", 1 << 30)]  # fmt: skip
    else:
        staged += [(f"{T}/0/pid_target", 530)]
    staged += [("0/contexts/0/schemes/nr_schemes", schemes)]
    for index in range(schemes):
        base = f"0/contexts/0/schemes/{index}/access_pattern"
        staged += [(f"{base}/sz/max", (1 << 64) - 1)]
        staged += [(f"{base}/{name}/max", (1 << 32) - 1) for name in ("nr_accesses", "age")]
    for path, value in (*staged, *writes):
        made.write(f"{KDAMONDS}/{path}", str(value))
    return made


def imported(made):
    tree = snapshot(made)
    source = Source("slot 0", "k", slot_tree(tree, 0))
    return policy([source], "p", detect(made, tree), made)


def differences(made):
    found = imported(made)
    assert not [each for each in found.found if each.severity == "error"], found
    return {each["file"].removeprefix("contexts/0/"): (each["is"], each["becomes"], each["why"])
            for each in found.differences}  # fmt: skip


def test_the_smallest_policy():
    made = machine(schemes=0)

    assert (
        imported(made).text
        == """\
version: 1
name: p
kdamonds:
- name: k
  ops: paddr
  targets:
  - regions:
    - {start: 0x100000, end: 0x40000000}
"""
    )
    assert imported(made).found == ()


def test_memory_is_named_where_it_has_a_name():
    for target in ("{system_ram: true}", "{numa_node: 1}"):
        world = World.make("7.3")
        text = f"""\
version: 1
name: p
kdamonds: [{{name: k, ops: paddr, targets: [{target}]}}]
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""
        world.apply("p", text=text)

        assert f"  - {target}\n" in imported(world.machine).text
        world.close()


def test_processes_are_named_above():
    text = imported(machine(ops="vaddr")).text

    assert text.startswith("# pid 530 is nginx\n")
    assert "  - process: {pid: 530}\n" in text


def test_a_subtree_is_one_path():
    world = World.make("7.3")
    world.apply("ksm")

    assert "    - allow: {memcg: /machine.slice}\n" in imported(world.machine).text
    world.close()


def test_a_cgroup_whose_name_looks_like_a_pattern_is_that_one():
    made = machine("7.3", (f"{S}/ops_filters/nr_filters", 1), (f"{S}/ops_filters/0/type", "memcg"),
                   (f"{S}/ops_filters/0/matching", "Y"), (f"{S}/ops_filters/0/memcg_path", "/a[b]*"))  # fmt: skip
    for path in ("/a[b]*", "/ab", "/abc", "/a[b]c"):
        made.make_cgroup(path)

    assert "        memcg: {path: '/a[[]b][*]', subtree: false}\n" in imported(made).text
    assert differences(made) == {}


def test_actions_that_stand_twice_are_numbered():
    text = imported(machine("7.3", schemes=3)).text

    assert [line for line in text.splitlines() if "name: stat" in line] == [
        "  - {name: stat, action: stat}",
        "  - {name: stat-2, action: stat}",
        "  - {name: stat-3, action: stat}",
    ]


@pytest.mark.parametrize(
    ("version", "ops", "writes", "expected"),
    [
        (
            "7.3", "paddr", [(f"{S}/access_pattern/nr_accesses/max", 1 << 62)],
            {"schemes/0/access_pattern/nr_accesses/max":
             (str(1 << 62), "0", "the kernel takes 32 bits of it: 0")},
        ),
        (
            "7.3", "paddr", [(f"{S}/target_nid", 1)],
            {"schemes/0/target_nid": ("1", "-1", "`stat` moves nothing between nodes")},
        ),
        (
            "7.3", "paddr", [(f"{S}/quotas/fail_charge_num", 3)],
            {"schemes/0/quotas/fail_charge_num": ("3", "0", "the quota limits nothing")},
        ),
        (
            "7.3", "paddr", [(f"{T}/0/pid_target", 7)],
            {"targets/0/pid_target": ("7", "0", "the kernel ignores it on `paddr`")},
        ),
        (
            "6.18", "paddr", [(f"{A}/intervals/intervals_goal/access_bp", 400)],
            {"monitoring_attrs/intervals/intervals_goal/access_bp":
             ("400", "0", "the kernel tunes nothing while `aggrs` is 0")},
        ),
        (
            "7.3", "vaddr", [(f"{T}/0/regions/nr_regions", 1), (f"{T}/0/regions/0/end", 4096)],
            {"targets/0/regions/nr_regions": ("1", "0", "on `vaddr` the kernel replaces them"),
             "targets/0/regions/0/end": ("4096", "0", "on `vaddr` the kernel replaces them")},
        ),
        (
            "7.3", "paddr", [(f"{T}/0/regions/0/end", 1 << 20 | 5)],
            {"targets/0/regions/0/end": (str(1 << 20 | 5), str((1 << 20) + 4096),
             "the kernel widens them to whole pages; those that share one are united")},
        ),
        (
            "7.3", "paddr", [(f"{S}/ops_filters/nr_filters", 1), (f"{S}/ops_filters/0/max", 9)],
            {"schemes/0/ops_filters/0/max":
             ("9", "0", "the kernel ignores it for the type `anon`")},
        ),
        (
            "damon-next", "paddr",
            [(f"{A}/sample/primitives/page_table", "N"), (f"{A}/sample/primitives/page_fault", "Y"),
             (f"{A}/sample/filters/nr_filters", 1), (f"{A}/sample/filters/0/type", "write"),
             (f"{A}/sample/filters/0/matching", "Y"), (f"{A}/sample/filters/0/allow", "Y")],
            {f"monitoring_attrs/sample/filters/{name}": (old, new,
             "nothing is rejected, so all accesses count; `accesses: {kind: write}` counts only those")
             for name, old, new in (("nr_filters", "1", "0"), ("0/type", "write", "cpumask"),
                                    ("0/matching", "Y", "N"), ("0/allow", "Y", "N"))},
        ),
    ],
)  # fmt: skip
def test_what_a_policy_does_not_say(version, ops, writes, expected):
    """Each has a reason; damo's lone `allow write`, for one, lets all accesses count."""
    assert differences(machine(version, *writes, ops=ops)) == expected


def test_a_difference_is_a_warning_with_its_reason():
    found = imported(machine("7.3", (f"{S}/target_nid", 1))).found

    assert [(each.code, each.severity, each.message, each.hint) for each in found] == [
        (
            "DP0620", "warning",
            "`contexts/0/schemes/0/target_nid` of slot 0 is `1`, and the policy makes it `-1`",
            "`stat` moves nothing between nodes",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("writes", "code"),
    [
        ([(f"{A}/nr_regions/min", 2000)], "DP0201"),
        ([(f"{A}/intervals/sample_us", 0)], "DP0222"),
        ([(f"{T}/nr_targets", 0)], "DP0207"),
        ([(f"{S}/action", "hugepage")], "DP0212"),
        ([(f"{S}/action", "migrate_hot"), (f"{S}/target_nid", 7), (f"{S}/quotas/bytes", 1)], "DP0245"),
    ],
)  # fmt: skip
def test_what_no_policy_may_say_is_an_error_at_its_line(writes, code):
    found = imported(machine("7.3", *writes)).found

    assert code in {each.code for each in found if each.severity == "error"}
    assert all(each.span for each in found if each.severity == "error")


def regions(*ranges, base=f"{T}/0/regions"):
    """Writes of regions."""
    return [
        (f"{base}/nr_regions", len(ranges)),
        *((f"{base}/{index}/{name}", value) for index, each in enumerate(ranges)
          for name, value in zip(("start", "end"), each, strict=True)),
    ]  # fmt: skip


def filters(directory, *rows):
    """Writes of filters: type, matching, allow."""
    return [
        (f"{S}/{directory}/nr_filters", len(rows)),
        *((f"{S}/{directory}/{index}/{name}", value) for index, row in enumerate(rows)
          for name, value in zip(("type", "matching", "allow"), row, strict=True)
          if value is not None),
    ]  # fmt: skip


MIB = 1 << 20
TWICE = [(f"{T}/nr_targets", 2), (f"{T}/0/pid_target", 530), (f"{T}/1/pid_target", 530)]


@pytest.mark.parametrize(
    ("ops", "writes"),
    [
        ("paddr", regions((MIB, 2 * MIB), (2 * MIB, 3 * MIB))),
        ("fvaddr", regions((0, MIB), (MIB, 2 * MIB), (4 * MIB, 5 * MIB))),
        ("vaddr", filters("filters", ("anon", "Y", "N"), ("target", "Y", "N"))),
        ("vaddr", filters("filters", ("target", "Y", "Y"), ("anon", "N", "N"))),
    ],
    ids=("adjacent", "adjacent-of-a-process", "core-filter-last", "together"),
)  # fmt: skip
def test_what_comes_back_byte_by_byte(ops, writes):
    assert differences(machine("7.3", *writes, ops=ops)) == {}


@pytest.mark.parametrize(
    ("ops", "writes", "first", "why"),
    [
        ("paddr", regions((MIB + 5, 2 * MIB)), "targets/0/regions/0/start", "whole pages"),
        ("paddr", regions((MIB, 2 * MIB + 5), (2 * MIB + 5, 3 * MIB)),
         "targets/0/regions/0/end", "those that share one are united"),
        ("vaddr", TWICE, "targets/1/pid_target", "monitors each process once"),
        ("paddr", [*filters("filters", ("young", "Y", "N")), *filters("core_filters", ("addr", "Y", "N")),
                   (f"{S}/core_filters/0/addr_end", MIB)],
         "schemes/0/filters/0/matching", "what they decide stays the same"),
        ("paddr", filters("core_filters", (None, "Y", "N")), "schemes/0/core_filters/0/matching",
         "`core_filters` is for `addr`"),
        ("vaddr", filters("filters", ("anon", "Y", "Y"), ("target", "Y", "N")),
         "schemes/0/filters/0/allow", "core first"),
    ],
    ids=("unaligned", "one-page", "twice", "both-kinds-of-filters", "default-anon", "core-after-allow"),
)  # fmt: skip
def test_what_comes_back_otherwise_has_a_reason(ops, writes, first, why):
    found = differences(machine("7.3", *writes, ops=ops))

    assert first in found
    assert why in found[first][2]
    assert {each[2] for each in found.values()} & {"", UNSAID} == set()


def test_filters_of_both_kinds_decide_in_the_kernels_order():
    """What stands in `filters/` comes after the layers, but for what the core decides."""
    writes = [
        *filters("filters", ("target", "Y", "N"), ("young", "Y", "N")),
        *filters("ops_filters", ("anon", "Y", "Y")),
    ]
    text = imported(machine("7.3", *writes)).text

    assert [line.strip() for line in text.splitlines() if "reject" in line or "allow" in line] == [
        "- reject: {target: 0}", "- {allow: anon}", "- {reject: young}",
    ]  # fmt: skip


def test_a_process_that_is_gone_is_an_error():
    made = machine(ops="vaddr")
    made.exit_process(530)

    (found,) = imported(made).found
    assert (found.code, str(found.span)) == ("DP0305", "p.yaml:7:5")


@pytest.mark.parametrize(
    ("kernel", "name"), [(kernel, name) for kernel, names in APPLIES.items() for name in names]
)
def test_shipped_policies_come_back(kernel, name):
    world = World.make(kernel)
    world.apply(name)
    tree = snapshot(world.machine)
    sources = [
        Source(f"slot {slot}", f"k{slot}", slot_tree(tree, slot))
        for slot in range(int(tree["nr_kdamonds"]))
        if tree[f"{slot}/contexts/nr_contexts"] == "1"
    ]

    found = policy(sources, name, detect(world.machine, tree), world.machine)

    assert sources
    assert found.found == ()
    world.close()


CASES = [
    path.parent
    for path in sorted(GOLDEN.glob("*/case.toml"))
    for case in [tomllib.loads(path.read_text())]
    if case["command"] == ["apply", "policy.yaml"]
    and not {"before", "foreign", "machine"} & set(case)
    and any(line[:7] == "0/state" for line in (path.parent / "tree.txt").read_text().splitlines())
]


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_golden_policies_come_back(folder):
    kernel = tomllib.loads((folder / "case.toml").read_text())["kernel"]
    world = World.make(kernel)
    world.apply("p", text=(folder / "policy.yaml").read_text())
    tree = snapshot(world.machine)
    sources = [
        Source(f"slot {slot}", f"k{slot}", slot_tree(tree, slot))
        for slot in range(int(tree["nr_kdamonds"]))
        if tree[f"{slot}/contexts/nr_contexts"] == "1"
    ]
    found = policy(sources, "p", detect(world.machine, tree), world.machine)

    assert found.differences == ()
    assert {each.code for each in found.found} <= {"DP0604", "DP0232", "DP0248", "DP0306", "DP0680"}
    world.close()
