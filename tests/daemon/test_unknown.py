"""On a kernel without visible features, edits still reach the kernel."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import Desk
from tests.policies import ACCESSES
from tests.world import STAT_OFF, Blind, World

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    {more}
    schemes:
      - name: s
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}, age: {{min: 2m}}}}
        quota: {{size: 128MiB, every: 1s{quota}}}
        young: last
        filters: [{filters}]
"""
LOOK = ACCESSES.replace("name: a", "name: p")
CONTEXT = "0/contexts/0"
SCHEME = f"{CONTEXT}/schemes/0"


def policy(filters="", *, more="", quota=""):
    return POLICY.format(filters=filters, more=more, quota=quota)


@pytest.fixture
def desk_of(tmp_path):
    """Make services on kernels without BTF."""
    made = []

    def make(kernel):
        world = World.make(kernel, Blind)
        if world.machine.exists(STAT_OFF):
            world.write(STAT_OFF, "N")
        made.append(world)
        return Desk(world, tmp_path / kernel)

    yield make
    for world in made:
        assert not world.machine.poisoned
        world.close()


def edit(desk, *texts):
    for text in texts:
        desk.put("p.yaml", text)
        assert desk.rest().kind == "applied", desk.reloader.outcome


def running(desk, directory):
    """Return what the kdamond itself was given: files below a directory of its context."""
    found = desk.world.machine.running(0)
    for part in directory.split("/"):
        found = found[part]
    return found


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ("{reject: anon}", {"type": "anon", "matching": "Y", "allow": "N", "memcg_path": ""}),
        ("{allow: anon}", {"type": "anon", "matching": "Y", "allow": "Y", "memcg_path": ""}),
        ("{reject: {not: anon}}", {"type": "anon", "matching": "N", "allow": "N"}),
    ],
)
@pytest.mark.parametrize("kernel", ["6.18", "7.2", "7.3", "damon-next"])
def test_an_edit_to_what_new_directories_hold_reaches_the_kernel(desk_of, kernel, filters, wanted):
    desk = desk_of(kernel)
    edit(desk, policy("{reject: {memcg: {path: /system.slice, subtree: false}}}"), policy(filters))

    found = running(desk, "schemes/0/ops_filters/0")
    assert {name: found[name] for name in wanted} == wanted
    assert desk.read(f"{KDAMONDS}/{SCHEME}/ops_filters/0/type") == "anon"


def test_an_older_kernel_gets_the_edited_filter_too(desk_of):
    desk = desk_of("6.12")
    edit(
        desk,
        policy("{reject: {memcg: {path: /system.slice, subtree: false}}}"),
        policy("{reject: anon}"),
    )

    found = running(desk, "schemes/0/filters/0")
    assert (found["type"], found["matching"], found["memcg_path"]) == ("anon", "Y", "")


def test_an_edit_back_to_what_kernels_do_anyway_reaches_the_kernel(desk_of):
    goals = "goals: [{metric: some_mem_psi_us, target: 10ms}]"
    desk = desk_of("7.3")
    edit(
        desk,
        policy(more="paused: true", quota=f", tuner: temporal, fail_charge: 1/10, {goals}"),
        policy(quota=f", {goals}"),
    )

    assert running(desk, "pause") == "N"
    quotas = running(desk, "schemes/0/quotas")
    assert (quotas["goal_tuner"], quotas["fail_charge_num"]) == ("consist", "0")


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [
        ("{kind: write}", "{cpus: 0}", ["cpumask N N 0", "cpumask Y Y 0"]),
        ("{kind: read}", "{kind: write}", ["write N N", "write Y Y"]),
        ("{threads: [811]}", "{cpus: 0, threads: [811]}",
         ["cpumask N N 0", "threads N N 811", "threads Y Y 811"]),
        ("{kind: write}", "{kind: any}", []),
    ],
)  # fmt: skip
def test_an_edit_of_accesses_reaches_the_kernel(desk_of, first, last, wanted):
    desk = desk_of("damon-next")
    edit(desk, LOOK.format(accesses=first), LOOK.format(accesses=last))

    filters = running(desk, "monitoring_attrs/sample/filters")
    found = [
        " ".join(filters[number][name] for name in ("type", "matching", "allow"))
        + (f" {filters[number]['cpumask']}" if filters[number]["cpumask"] else "")
        + (f" {filters[number]['tid_arr']}" if filters[number]["tid_arr"] else "")
        for number in sorted(name for name in filters if name.isdecimal())
    ]
    assert found == wanted
    fault = running(desk, "monitoring_attrs/sample/primitives")["page_fault"]
    assert fault == ("Y" if wanted else "N")


@pytest.mark.parametrize(("kernel", "layers"), [("6.12", "no"), ("6.18", "yes"), ("7.3", "yes")])
def test_what_a_directory_shows_is_known_at_the_next_reload(desk_of, kernel, layers):
    desk = desk_of(kernel)
    known = []
    goals = ", goals: [{metric: some_mem_psi_us, target: 10ms}]"
    for text in (policy(), policy(quota=goals), policy()):
        edit(desk, text)
        found = desk.keeper.capabilities
        known.append((found.known("filters.layers"), found.known("quota.goal.metric")))

    assert known == [("unknown", "unknown"), (layers, "unknown"), (layers, "yes")]


def test_what_shows_later_is_known_at_the_next_reload_and_what_was_refused_stays_so(desk_of):
    desk = desk_of("6.12")
    edit(desk, policy("{reject: {hugepage_size: {min: 2MiB, max: 2MiB}}}").replace(
        "young: last", "optional: true"))  # fmt: skip
    refused = desk.keeper.capabilities
    before = len(desk.world.machine.log)
    edit(desk, policy("{reject: anon}"))
    edit(desk, policy("{reject: young}"))

    assert refused.known("filter.sizes") == "no"
    known = desk.keeper.capabilities
    assert (known.known("filter.sizes"), known.known("filters.layers")) == ("no", "no")
    assert known.known("filter.allow") == "no", "a filter's directory shows it"
    written = {each.path for each in desk.world.machine.log[before:]}
    assert not any(path.endswith("ops_filters/nr_filters") for path in written)
