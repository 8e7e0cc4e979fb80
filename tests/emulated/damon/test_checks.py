"""Refusals of `on` and `commit`; every line was run on the named real kernels."""

import pytest

C = "0/contexts/0"
A = f"{C}/monitoring_attrs"
I = f"{A}/intervals"  # noqa: E741 - as in the kernel's tree
P = f"{A}/probes"
S = f"{C}/schemes/0"
T = f"{C}/targets/0"
F = f"{S}/filters"
Q = f"{S}/quotas"
G = f"{Q}/goals"
PADDR = (f"{C}/operations", "paddr")
FVADDR = (f"{C}/operations", "fvaddr")


def region(*ranges):
    here = f"{T}/regions"
    return [(f"{here}/nr_regions", len(ranges))] + [
        pair
        for number, (start, end) in enumerate(ranges)
        for pair in ((f"{here}/{number}/start", start), (f"{here}/{number}/end", end))
    ]


def goal(metric, *more, target=10):
    return [(f"{G}/nr_goals", 1), (f"{G}/0/target_metric", metric), (f"{G}/0/target_value", target),
            *more]  # fmt: skip


def probe(*more):
    return [(f"{P}/nr_probes", 1), *((f"{P}/0/{name}", value) for name, value in more)]


OLD, MIDDLE, NEW = "6.12", "6.18", "7.3"
CASES = [
    # what, writes, errno by kernel (ok where none)
    ("empty region", region((0, 0)), {OLD: "EINVAL", NEW: "EINVAL"}),
    ("empty region on a page border", [PADDR, *region((4096, 4096))], {OLD: "EINVAL", NEW: "EINVAL"}),
    ("less than a page", [PADDR, *region((1, 2))], {}),
    ("end before start, same page", region((100, 50)), {OLD: "EINVAL", MIDDLE: "EINVAL"}),
    ("end before start", [FVADDR, *region((8192, 4096))], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("touching regions", [FVADDR, *region((4096, 8192), (8192, 12288))], {}),
    ("regions on one page", [FVADDR, *region((4096, 8193), (8200, 12288))], {OLD: "EINVAL", NEW: "EINVAL"}),
    ("unordered regions", [FVADDR, *region((8192, 12288), (4096, 8192))], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("region to the end of all", [PADDR, *region((0, (1 << 64) - 1))], {OLD: "EINVAL", NEW: "EINVAL"}),
    ("three regions at most", [(f"{A}/nr_regions/min", 3), (f"{A}/nr_regions/max", 3)], {}),
    ("two regions at least", [(f"{A}/nr_regions/min", 2)], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("one sample an aggregation", [(f"{I}/sample_us", 100000)], {}),
    ("less than a sample", [(f"{I}/sample_us", 100001)], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("a kernel thread", [(f"{T}/pid_target", 2)], {}),
    ("no process", [(f"{T}/pid_target", -1)], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("paddr needs no process", [PADDR, (f"{T}/pid_target", 999999)], {}),
    ("tuned, start outside", [(f"{I}/intervals_goal/aggrs", 3), (f"{I}/intervals_goal/max_sample_us", 4000)], {MIDDLE: "EINVAL", NEW: "EINVAL"}),
    ("not tuned, whatever limits", [(f"{I}/intervals_goal/min_sample_us", 9000)], {}),
    ("node goal", goal("node_mem_used_bp"), {}),
    ("goal on the root cgroup", goal("node_memcg_used_bp", (f"{G}/0/path", "/")), {}),
    ("goal on no cgroup", goal("node_memcg_used_bp"), {NEW: "ENOMEM"}),
    ("goal on no cgroup, target 0", goal("node_memcg_used_bp", target=0), {}),
    ("goal on a node that is not there", [PADDR, *goal("node_eligible_mem_bp", (f"{G}/0/nid", 9))], {}),
    ("eligible memory of processes", goal("node_eligible_mem_bp"), {NEW: "EINVAL"}),
    ("eligible memory, target 0", goal("node_eligible_mem_bp", target=0), {}),
    ("memcg filter without path", [(f"{F}/nr_filters", 1), (f"{F}/0/type", "memcg")], dict.fromkeys((OLD, MIDDLE, NEW), "ENOMEM")),
    ("memcg filter, newline", [(f"{F}/nr_filters", 1), (f"{F}/0/type", "memcg"), (f"{F}/0/memcg_path", "/machine.slice\n")], {}),
    ("memcg filter, final slash", [(f"{F}/nr_filters", 1), (f"{F}/0/type", "memcg"), (f"{F}/0/memcg_path", "/machine.slice/")], dict.fromkeys((OLD, MIDDLE, NEW), "ENOMEM")),
    ("core filter backwards", [(f"{S}/core_filters/nr_filters", 1), (f"{S}/core_filters/0/type", "addr"), (f"{S}/core_filters/0/addr_start", 9)], {MIDDLE: "ENOMEM", NEW: "ENOMEM"}),
    ("core filter of the default type", [(f"{S}/core_filters/nr_filters", 1)], {}),
    ("huge pages backwards", [(f"{F}/nr_filters", 1), (f"{F}/0/type", "hugepage_size"), (f"{F}/0/min", 9)], {MIDDLE: "ENOMEM", NEW: "ENOMEM"}),
    ("a destination that is not there", [PADDR, (f"{S}/dests/nr_dests", 1), (f"{S}/dests/0/id", 77)], {}),
    ("probe", probe(("weight", 1)), {}),
    ("probe of 256 samples", [*probe(("weight", 1)), (f"{I}/aggr_us", 1280000)], {NEW: "EINVAL"}),
    ("weightless probe of 256 samples", [*probe(), (f"{I}/aggr_us", 1280000)], {}),
    ("heaviest probe", probe(("weight", ((1 << 32) - 1) // 20)), {}),
    ("probe too heavy", probe(("weight", ((1 << 32) - 1) // 20 + 1)), {NEW: "EINVAL"}),
    ("probe of no cgroup", probe(("filters/nr_filters", 1), ("filters/0/type", "memcg")), {NEW: "EINVAL"}),
    ("units of 3", [PADDR, (f"{C}/addr_unit", 3)], {NEW: "EINVAL"}),
    ("units of 3 do not matter", [(f"{C}/addr_unit", 3)], {}),
    ("units above a page", [PADDR, (f"{C}/addr_unit", 8192)], {}),
    ("the filter of a second scheme", [(f"{C}/schemes/nr_schemes", 2), (f"{C}/schemes/1/filters/nr_filters", 1), (f"{C}/schemes/1/filters/0/type", "memcg")], dict.fromkeys((OLD, MIDDLE, NEW), "ENOMEM")),
    ("one of two processes", [(f"{C}/targets/nr_targets", 2), (f"{T}/pid_target", 811), (f"{C}/targets/1/pid_target", 999999)], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("one process twice", [(f"{C}/targets/nr_targets", 2), (f"{T}/pid_target", 811), (f"{C}/targets/1/pid_target", 811)], {}),
    ("two targets of paddr", [PADDR, (f"{C}/targets/nr_targets", 2)], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
    ("attributes before schemes", [(f"{A}/nr_regions/min", 2), (f"{F}/nr_filters", 1), (f"{F}/0/type", "memcg")], dict.fromkeys((OLD, MIDDLE, NEW), "EINVAL")),
]  # fmt: skip
NAMES = [case[0] for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_on(case, every):
    _, writes, answers = case
    every.context().writes(*writes)
    expected = answers.get(every.machine.profile.version, "ok")

    assert expected == every.command("on")
    assert every.state() == ("on" if expected == "ok" else "off")


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_commit(case, every):
    """Kernels before 6.16 say ok, and the kdamond stops; later ones go on as before."""
    _, writes, answers = case
    every.context()
    assert every.command("on") == "ok"
    before = every.machine.running(0)
    every.writes(*writes)
    expected = answers.get(every.machine.profile.version, "ok")

    if every.machine.profile.has("commit.checked"):
        assert expected == every.command("commit")
        assert every.state() == "on"
        if expected != "ok":
            assert before == every.machine.running(0)
    else:
        assert every.command("commit") == "ok"
        assert every.state() == ("on" if expected == "ok" else "off")


def test_obsolete_targets_are_for_commits_only(kernel):
    kernel.context().write(f"{T}/obsolete_target", "Y")

    assert kernel.command("on") == "EINVAL"


def test_goals_alone_are_refused_by_another_errno(kernel):
    kernel.context()
    kernel.command("on")
    kernel.writes(*goal("node_memcg_used_bp"))

    assert kernel.command("commit_schemes_quota_goals") == "EINVAL"
    assert kernel.command("commit") == "ENOMEM"


def test_what_runs_must_be_committable_too(kernel):
    """A goal that only `commit` refuses gets in by its own command; then nothing gets in."""
    kernel.context()
    kernel.command("on")
    kernel.writes(*goal("node_eligible_mem_bp"))

    assert kernel.command("commit_schemes_quota_goals") == "ok"
    assert kernel.command("commit") == "ENOMEM"
    kernel.write(f"{G}/nr_goals", 0)
    assert kernel.command("commit") == "ENOMEM"
