"""Changes that a commit ignores on emulated kernels, as on the real ones of their series."""

from __future__ import annotations

import pytest

Q = "0/contexts/0/schemes/0/quotas"
G = f"{Q}/goals"


def eligible(kernel, *nodes):
    """Stage goals that node 0 (45 % of what is eligible) misses, and node 1 (55 %) does not."""
    kernel.write(f"{G}/nr_goals", len(nodes))
    for place, node in enumerate(nodes):
        kernel.writes(
            (f"{G}/{place}/target_metric", "node_eligible_mem_bp"),
            (f"{G}/{place}/target_value", 5000),
            (f"{G}/{place}/nid", node),
        )


def running(kernel, *nodes):
    kernel.context("paddr").region(1 << 20, 5 << 30)
    kernel.writes((f"{Q}/reset_interval_ms", 1000), (f"{Q}/bytes", 1 << 30))
    eligible(kernel, *nodes)
    assert kernel.command("on") == "ok"
    kernel.machine.sleep(30)
    return kernel


def effective(kernel):
    kernel.machine.sleep(60)
    kernel.command("update_schemes_effective_quotas")
    return int(kernel.read(f"{Q}/effective_bytes"))


@pytest.mark.parametrize("command", ["commit", "commit_schemes_quota_goals"])
@pytest.mark.parametrize(("version", "grows"), [("7.2", False), ("7.3", True)])
def test_a_goal_on_eligible_memory_keeps_its_node(making, version, grows, command):
    kernel = running(making(version), 1)

    eligible(kernel, 0)
    assert kernel.command(command) == "ok"

    assert (effective(kernel) > 100) is grows
    assert kernel.read(f"{G}/0/nid") == "0", "files tell nothing"


@pytest.mark.parametrize(("version", "grows"), [("7.2", True), ("7.3", False)])
def test_a_new_goal_on_eligible_memory_is_given_no_node(making, version, grows):
    kernel = running(making(version))

    eligible(kernel, 1)
    assert kernel.command("commit") == "ok"

    assert (effective(kernel) > 1) is grows


def test_a_start_takes_all(making):
    kernel = running(making("7.2"), 1)
    eligible(kernel, 0)
    kernel.command("off")
    kernel.command("on")

    assert effective(kernel) > 100


@pytest.mark.parametrize("version", ["6.12", "6.18", "7.3"])
def test_a_tuned_quota_stays_at_its_position(making, version):
    """Whichever scheme comes there: the kernel knows no names."""
    kernel = making(version).context("paddr", schemes=2)
    kernel.region(1 << 20, 5 << 30)
    for place in (0, 1):
        base = f"0/contexts/0/schemes/{place}/quotas"
        kernel.writes(
            (f"{base}/reset_interval_ms", 1000 * (place + 1)), (f"{base}/goals/nr_goals", 1)
        )
        kernel.write(f"{base}/goals/0/target_value", 100)
    kernel.command("on")
    kernel.machine.sleep(12)
    kernel.command("update_schemes_effective_quotas")
    first = int(kernel.read(f"{Q}/effective_bytes"))
    second = int(kernel.read("0/contexts/0/schemes/1/quotas/effective_bytes"))
    assert first > second > 1

    kernel.context("paddr")
    kernel.writes(
        (f"{Q}/reset_interval_ms", 2000), (f"{G}/nr_goals", 1), (f"{G}/0/target_value", 100)
    )
    kernel.command("commit")
    kernel.command("update_schemes_effective_quotas")

    assert int(kernel.read(f"{Q}/effective_bytes")) == first


def tried(kernel):
    kernel.command("update_schemes_stats")
    return int(kernel.read("0/contexts/0/schemes/0/stats/nr_tried"))


@pytest.mark.parametrize(
    ("version", "attribute", "soon"),
    [("6.12", False, True), ("6.18", False, False), ("6.18", True, True), ("7.3", False, False)],
)
def test_a_scheme_waits_once_more_as_long_as_before(making, version, attribute, soon):
    every = making(version)
    path = "0/contexts/0/schemes/0/apply_interval_us"
    every.context().write(path, 10_000_000)
    every.command("on")
    every.machine.sleep(1)
    every.write(path, 1_000_000)
    if attribute:
        every.write("0/contexts/0/monitoring_attrs/nr_regions/max", 999)
    every.command("commit")

    every.machine.sleep(5)
    assert bool(tried(every)) is soon
    every.machine.sleep(5)
    assert tried(every)


@pytest.mark.parametrize(("version", "late"), [("7.0", True), ("7.1", False)])
def test_the_least_number_of_regions_waits_for_an_update(making, version, late):
    kernel = making(version).context()
    base = "0/contexts/0/monitoring_attrs"
    kernel.write(f"{base}/intervals/update_us", 5_000_000)
    kernel.command("on")
    kernel.write(f"{base}/nr_regions/min", 500)
    kernel.command("commit")

    def regions():
        kernel.command("update_schemes_tried_regions")
        here = "0/contexts/0/schemes/0/tried_regions"
        return sum(each.is_dir for each in kernel.machine.scan(kernel.path(here)))

    assert (regions() < 400) is late
    kernel.machine.sleep(6)
    assert regions() >= 400
