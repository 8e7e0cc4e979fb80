"""Results of monitoring and schemes on the default machine."""

import pytest

C = "0/contexts/0"
S = f"{C}/schemes/0"
MIB = 1 << 20
SECOND = 1_000_000


def pattern(kernel, scheme=0, **bounds):
    here = f"{C}/schemes/{scheme}/access_pattern"
    for name, (low, high) in bounds.items():
        kernel.writes((f"{here}/{name}/min", low), (f"{here}/{name}/max", high))


def tried(kernel):
    """Walk, and return the tried regions as (start, end, accesses, age)."""
    assert kernel.command("update_schemes_tried_regions") == "ok"
    names = [e.name for e in kernel.machine.scan(kernel.path(f"{S}/tried_regions")) if e.is_dir]
    return sorted(
        tuple(
            int(kernel.read(f"{S}/tried_regions/{name}/{file}"))
            for file in ("start", "end", "nr_accesses", "age")
        )
        for name in names
    )


def stats(kernel):
    assert kernel.command("update_schemes_stats") == "ok"
    names = [e.name for e in kernel.machine.scan(kernel.path(f"{S}/stats"))]
    return {name: int(kernel.read(f"{S}/stats/{name}")) for name in names}


def size(regions):
    return sum(end - start for start, end, *_ in regions)


def test_a_process_is_its_areas(every):
    every.context()
    every.command("on")
    every.machine.sleep(10)

    found = tried(every)

    assert size(found) == 512 * MIB
    by_accesses = {}
    for start, end, accesses, _ in found:
        by_accesses[accesses] = by_accesses.get(accesses, 0) + end - start
    assert by_accesses == {18: 64 * MIB, 14: 64 * MIB, 4: 128 * MIB, 0: 256 * MIB}
    assert len(found) >= 10, "as many regions as asked for"
    assert every.read(f"{S}/tried_regions/total_bytes") == str(512 * MIB)


def test_ages_grow_from_the_start_on(kernel):
    kernel.context()
    kernel.command("on")
    kernel.machine.sleep(5)

    assert {age for *_, age in tried(kernel)} == {51}
    kernel.machine.sleep(5)
    assert {age for *_, age in tried(kernel)} == {102}


def test_ages_are_those_of_the_area(making):
    kernel = making(spec={"processes": [
        {"name": "x", "pid": 811, "areas": [{"size": "8MiB", "age": "2s", "rate": "10%"}]},
    ]})  # fmt: skip
    kernel.context()
    kernel.command("on")
    kernel.machine.sleep(60)

    assert {age for *_, age in tried(kernel)} == {20}


def test_cold_memory_is_found_by_pattern(kernel):
    kernel.context()
    pattern(kernel, nr_accesses=(0, 0), age=(100, (1 << 32) - 1))
    kernel.command("on")

    assert tried(kernel) == []
    kernel.machine.sleep(11)
    assert size(tried(kernel)) == 256 * MIB


def test_bounds_are_cut_to_32_bits(kernel):
    kernel.context()
    pattern(kernel, nr_accesses=(0, 1 << 32))
    kernel.command("on")

    assert size(tried(kernel)) == 256 * MIB, "a maximum of 2^32 means 0"


def test_physical_memory(kernel):
    kernel.context("paddr").region(1 << 20, 1 << 30)
    kernel.command("on")

    found = tried(kernel)

    assert size(found) == (1 << 30) - (1 << 20)
    assert found[0][0] == 1 << 20
    hot = [region for region in found if region[2] > 15]
    assert size(hot) == 64 * MIB


def test_physical_memory_without_a_region_is_not_monitored(every):
    every.context("paddr")
    every.command("on")
    every.machine.sleep(1)

    assert tried(every) == []
    assert stats(every)["sz_tried"] == 0


def test_units(kernel):
    kernel.context("paddr").region(256, 1 << 18)
    kernel.write(f"{C}/addr_unit", 4096)
    kernel.command("on")

    found = tried(kernel)

    assert (found[0][0], found[-1][1]) == (256, 1 << 18)
    # in units as well, whatever the file is called
    assert kernel.read(f"{S}/tried_regions/total_bytes") == str((1 << 18) - 256)


def test_fixed_virtual_addresses(kernel):
    kernel.context("fvaddr").region(0x7F00_0000_0000, 0x7F00_0000_0000 + 16 * MIB)
    kernel.command("on")

    assert size(tried(kernel)) == 16 * MIB


def test_weighted_probes_replace_access_checks(kernel):
    kernel.context()
    kernel.writes(
        (f"{C}/monitoring_attrs/probes/nr_probes", 1), (f"{C}/monitoring_attrs/probes/0/weight", 1)
    )
    kernel.command("on")

    assert {accesses for _, _, accesses, _ in tried(kernel)} == {0}


def test_address_filters_split_regions(kernel):
    kernel.context("fvaddr").region(0, 64 * MIB)
    here = f"{S}/core_filters"
    kernel.writes(
        (f"{here}/nr_filters", 1), (f"{here}/0/type", "addr"), (f"{here}/0/matching", "Y")
    )
    kernel.writes(
        (f"{here}/0/addr_start", 3 * MIB), (f"{here}/0/addr_end", 5 * MIB), (f"{here}/0/allow", "Y")
    )
    kernel.command("on")

    found = tried(kernel)

    assert (found[0][0], found[-1][1], size(found)) == (3 * MIB, 5 * MIB, 2 * MIB)


def test_target_filters(kernel):
    kernel.context(targets=2)
    kernel.write(f"{C}/targets/1/pid_target", 815)
    here = f"{S}/filters"
    kernel.writes(
        (f"{here}/nr_filters", 1), (f"{here}/0/type", "target"), (f"{here}/0/matching", "Y")
    )
    kernel.writes((f"{here}/0/damon_target_idx", 1))
    kernel.command("on")
    assert size(tried(kernel)) == 512 * MIB

    kernel.write(f"{here}/0/damon_target_idx", 7)
    kernel.command("commit")

    assert size(tried(kernel)) == 1024 * MIB, "no such target: nothing is rejected"


def numbers_of(kernel):
    return [e.name for e in kernel.machine.scan(kernel.path(f"{S}/tried_regions")) if e.is_dir]


def test_numbers_of_tried_regions(every):
    every.context("fvaddr").region(0, 8192)
    every.write(f"{C}/monitoring_attrs/nr_regions/min", 3)
    every.command("on")
    odd = every.machine.profile.version == "6.18"
    assert every.command("update_schemes_tried_regions") == "ok"
    assert numbers_of(every) == (["1", "3"] if odd else ["0", "1"])

    every.command("update_schemes_tried_regions")

    assert numbers_of(every) == (["3", "5"] if odd else ["0", "1"])
    every.command("update_schemes_tried_bytes")
    assert numbers_of(every) == []
    assert every.read(f"{S}/tried_regions/total_bytes") == "8192"


def test_results_stay_after_a_stop_and_go_on_demand(kernel):
    kernel.context()
    kernel.command("on")
    tried(kernel)
    before = stats(kernel)
    kernel.command("off")

    assert numbers_of(kernel)
    assert kernel.command("clear_schemes_tried_regions") == "ok"
    assert not numbers_of(kernel)
    assert kernel.read(f"{S}/stats/nr_tried") == str(before["nr_tried"])


def test_stat_counts_and_applies_nothing(kernel):
    kernel.context("paddr").region(1 << 20, 1 << 30)
    kernel.command("on")
    kernel.machine.sleep(1)

    first = stats(kernel)

    assert first["nr_snapshots"] == 10
    assert first["sz_tried"] == 10 * ((1 << 30) - (1 << 20))
    assert (first["nr_applied"], first["sz_applied"], first["sz_ops_filter_passed"]) == (0, 0, 0)
    kernel.machine.sleep(1)
    assert stats(kernel)["sz_tried"] == 2 * first["sz_tried"]


def page_filters(kernel, *filters):
    here = f"{S}/ops_filters"
    kernel.write(f"{here}/nr_filters", len(filters))
    for number, (kind, matching, allow, *more) in enumerate(filters):
        kernel.writes(
            (f"{here}/{number}/type", kind),
            (f"{here}/{number}/matching", matching),
            (f"{here}/{number}/allow", allow),
            *((f"{here}/{number}/memcg_path", path) for path in more),
        )


@pytest.mark.parametrize(
    ("filters", "passed"),
    [
        # both virtual machines, systemd, sshd, nginx, bash: 12 + 8 + 64 + 1024 + 4 MiB
        ([("anon", "Y", "Y")], 1112 - 32),
        ([("anon", "N", "N")], 1112 - 32),
        ([("anon", "Y", "N")], 32),
        ([("young", "Y", "N")], 12 + 8 + 256 + 480 + 4),
        ([("memcg", "Y", "Y", "/machine.slice/vm-1.scope")], 512),
        ([("memcg", "Y", "Y", "/machine.slice")], 0),
        ([("anon", "N", "N"), ("memcg", "Y", "Y", "/machine.slice/vm-2.scope")], 512),
        ([("unmapped", "Y", "N")], 1112),
        ([("active", "Y", "Y")], 64 + 64 + 128 + 32 + 32 + 32),
    ],
)
def test_stat_counts_what_passes_page_filters(kernel, filters, passed):
    kernel.context("paddr").region(1 << 20, 5 << 30)
    page_filters(kernel, *filters)
    kernel.command("on")
    kernel.machine.sleep(0.1)

    assert stats(kernel)["sz_ops_filter_passed"] == passed * MIB


def test_pageout_spares_young_pages(kernel):
    kernel.context("paddr").region(1 << 20, 5 << 30)
    kernel.write(f"{S}/action", "pageout")
    kernel.command("on")
    kernel.machine.sleep(0.1)

    assert stats(kernel)["sz_applied"] == (12 + 8 + 256 + 480 + 4) * MIB


@pytest.mark.parametrize(
    ("version", "operations", "action", "applied"),
    [
        ("7.3", "vaddr", "pageout", 512), ("7.3", "vaddr", "lru_prio", 0),
        ("7.3", "vaddr", "collapse", 512), ("7.3", "vaddr", "migrate_cold", 64),
        ("6.12", "vaddr", "migrate_cold", 0), ("7.3", "paddr", "hugepage", 0),
        ("7.3", "paddr", "lru_deprio", 1112), ("7.3", "paddr", "migrate_cold", 64 + 32 + 512),
        ("6.12", "paddr", "migrate_cold", 64 + 32 + 512),
    ],
)  # fmt: skip
def test_what_actions_do(making, version, operations, action, applied):
    kernel = making(version).context(operations)
    kernel.region(1 << 20, 5 << 30) if operations == "paddr" else None
    kernel.writes((f"{S}/action", action), (f"{S}/target_nid", 0))
    kernel.command("on")
    kernel.machine.sleep(0.1)

    assert stats(kernel)["sz_applied"] == applied * MIB


def test_migration_needs_a_destination(kernel):
    kernel.context("paddr").region(1 << 20, 5 << 30)
    kernel.writes((f"{S}/action", "migrate_hot"), (f"{S}/target_nid", 99))
    kernel.command("on")
    kernel.machine.sleep(1)

    assert stats(kernel)["sz_applied"] == 0


def test_snapshots_may_be_limited(kernel):
    kernel.context()
    kernel.write(f"{S}/stats/max_nr_snapshots", 3)
    kernel.command("on")
    kernel.machine.sleep(5)

    assert stats(kernel)["nr_snapshots"] == 3
    assert tried(kernel) == []


def test_statistics_survive_a_commit_but_not_a_restart(kernel):
    kernel.context()
    kernel.command("on")
    kernel.machine.sleep(1)
    before = stats(kernel)["nr_tried"]
    kernel.command("commit")
    assert stats(kernel)["nr_tried"] >= before

    kernel.command("off")
    kernel.command("on")

    assert stats(kernel)["nr_tried"] < before


def test_results_follow_the_index_of_schemes(kernel):
    kernel.context(schemes=2)
    pattern(kernel, 1, sz=(1, 0))
    kernel.command("on")
    kernel.machine.sleep(1)
    kernel.command("update_schemes_stats")
    assert kernel.read(f"{C}/schemes/1/stats/nr_tried") == "0"

    kernel.write(f"{C}/schemes/nr_schemes", 1)

    assert stats(kernel)["nr_tried"] > 0, "what runs has two, the files have one"
