"""Which accesses count: every row was seen on a kernel that carries the series.

A reader and a writer, each with 128 MiB, on a machine whose physical memory is monitored.
"""

import pytest

C = "0/contexts/0"
SAMPLE = f"{C}/monitoring_attrs/sample"
S = f"{C}/schemes/0"
BALANCING = "/proc/sys/kernel/numa_balancing"
MIB = 1 << 20
OWN, OTHER = 4000, 4001
BOTH, NONE, READER, WRITER = (128, 128), (0, 0), (128, 0), (0, 128)

FILTERS = [
    # filters as (type, matching, allow, argument), MiB of the reader and of the writer
    ([], BOTH),
    ([("write", "Y", "Y")], BOTH),
    ([("write", "N", "Y")], BOTH),
    ([("write", "N", "N")], NONE),
    ([("write", "Y", "N")], NONE),
    ([("write", "N", "N"), ("write", "Y", "Y")], WRITER),
    ([("write", "N", "N"), ("write", "N", "Y")], WRITER),
    ([("write", "N", "N"), ("cpumask", "N", "Y", "")], WRITER),
    ([("write", "Y", "Y"), ("write", "N", "N")], NONE),
    ([("write", "Y", "N"), ("write", "N", "Y")], READER),
    ([("cpumask", "Y", "Y", "1")], BOTH),
    ([("cpumask", "N", "N", "0"), ("cpumask", "Y", "Y", "0")], BOTH),
    ([("cpumask", "N", "N", "1"), ("cpumask", "Y", "Y", "1")], NONE),
    ([("cpumask", "N", "N", "0-1"), ("cpumask", "Y", "Y", "0-1")], BOTH),
    ([("cpumask", "Y", "N", "0"), ("cpumask", "N", "Y", "0")], NONE),
    ([("cpumask", "Y", "N", "1"), ("cpumask", "N", "Y", "1")], BOTH),
    ([("threads", "N", "N", OWN), ("threads", "Y", "Y", OWN)], WRITER),
    ([("threads", "N", "N", f"1,{OWN}"), ("threads", "Y", "Y", f"1,{OWN}")], WRITER),
    ([("threads", "N", "N", 1), ("threads", "Y", "Y", 1)], NONE),
    ([("cpumask", "N", "N", "0"), ("write", "N", "N"), ("write", "Y", "Y")], WRITER),
    ([("cpumask", "N", "N", "0"), ("write", "Y", "N"), ("write", "N", "Y")], READER),
]


@pytest.fixture
def kernel(making):
    """Reader and writer run on CPU 0, and nothing else is accessed."""
    processes = [
        {"name": name, "pid": pid, "cpus": "0",
         "areas": [{"size": "128MiB", "rate": "100%", "written": written}]}
        for name, pid, written in (("writer", OWN, "100%"), ("reader", OTHER, "0%"))
    ]  # fmt: skip
    made = making("damon-next", spec={"processes": processes})
    made.context("paddr").region(0, 1 << 31)
    made.write(BALANCING, 0)
    return made


def fault(kernel):
    kernel.writes(
        (f"{SAMPLE}/primitives/page_table", "N"), (f"{SAMPLE}/primitives/page_fault", "Y")
    )


def place(kernel, filters):
    kernel.write(f"{SAMPLE}/filters/nr_filters", len(filters))
    for number, (kind, matching, allow, *argument) in enumerate(filters):
        base = f"{SAMPLE}/filters/{number}"
        kernel.writes(
            (f"{base}/type", kind), (f"{base}/matching", matching), (f"{base}/allow", allow)
        )
        if argument and argument[0] != "":
            name = "cpumask" if kind == "cpumask" else "tid_arr"
            assert kernel.write(f"{base}/{name}", argument[0]) == "ok"


def seen(kernel):
    """Return MiB of the reader and of the writer that were found accessed."""
    kernel.write(f"{S}/access_pattern/nr_accesses/min", 1)
    assert kernel.command("on") == "ok"
    kernel.machine.sleep(1)
    assert kernel.command("update_schemes_tried_regions") == "ok"
    base = kernel.path(f"{S}/tried_regions")
    found = {"reader": 0, "writer": 0}
    at = {
        name: kernel.machine._world.processes[str(pid)]["areas"][0]["at"]
        for name, pid in (("writer", OWN), ("reader", OTHER))
    }
    for entry in kernel.machine.scan(base):
        if entry.is_dir:
            start, end = (
                int(kernel.read(f"{S}/tried_regions/{entry.name}/{n}")) for n in ("start", "end")
            )
            for name, first in at.items():
                found[name] += max(min(end, first + 128 * MIB) - max(start, first), 0)
    return found["reader"] // MIB, found["writer"] // MIB


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=lambda each: repr(each)[:60])
def test_filters(kernel, filters, expected):
    fault(kernel)
    place(kernel, filters)

    assert seen(kernel) == expected


def test_page_tables_ignore_filters(kernel):
    place(kernel, [("write", "N", "N")])

    assert seen(kernel) == BOTH


def test_numa_balancing_takes_the_faults(kernel):
    fault(kernel)
    kernel.write(BALANCING, 1)

    assert seen(kernel) == NONE


def test_units_are_not_known_to_faults(kernel):
    fault(kernel)
    kernel.writes((f"{C}/addr_unit", 4096), (f"{C}/targets/0/regions/0/end", (1 << 31) // 4096))

    assert seen(kernel) == NONE


def test_virtual_addresses_start_and_count_nothing(kernel):
    kernel.writes((f"{C}/operations", "vaddr"), (f"{C}/targets/0/pid_target", OWN))
    kernel.write(f"{C}/targets/0/regions/nr_regions", 0)
    fault(kernel)
    kernel.write(f"{S}/access_pattern/nr_accesses/min", 1)

    assert kernel.command("on") == "ok"
    kernel.machine.sleep(1)
    assert kernel.command("update_schemes_tried_regions") == "ok"
    assert kernel.read(f"{S}/tried_regions/total_bytes") == "0"


def test_a_share_of_the_accesses_counts(making):
    """Half of them write, and a quarter of the CPUs is asked for."""
    made = making("damon-next", spec={"processes": [{
        "name": "both", "areas": [{"size": "128MiB", "rate": "100%", "written": "50%"}],
    }]})  # fmt: skip
    made.context("paddr").region(0, 1 << 31)
    made.write(BALANCING, 0)
    fault(made)
    place(made, [("cpumask", "N", "N", "3"), ("write", "N", "N"), ("write", "Y", "Y")])
    made.write(f"{S}/access_pattern/nr_accesses/min", 1)
    made.command("on")
    made.machine.sleep(1)
    made.command("update_schemes_tried_regions")
    counts = {
        made.read(f"{S}/tried_regions/{entry.name}/nr_accesses")
        for entry in made.machine.scan(made.path(f"{S}/tried_regions"))
        if entry.is_dir
    }

    assert counts == {"2"}, "an eighth of 20 samples, rounded"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, BOTH),
        ({"write_only": "Y"}, WRITER),
        ({"cpus": "1"}, NONE),
        ({"cpus": "0-1", "write_only": "Y"}, WRITER),
        ({"tids": OTHER}, READER),
        ({"tids": OTHER, "write_only": "Y"}, NONE),
    ],
)
def test_the_early_form(making, files, expected):
    """Derived: all conditions have to hold."""
    processes = [
        {"name": name, "pid": pid, "cpus": "0",
         "areas": [{"size": "128MiB", "rate": "100%", "written": written}]}
        for name, pid, written in (("writer", OWN, "100%"), ("reader", OTHER, "0%"))
    ]  # fmt: skip
    made = making("damon-next-2025", spec={"processes": processes})
    made.context("paddr").region(0, 1 << 31)
    made.write(BALANCING, 0)
    for name, value in {"use_reports": "Y", **files}.items():
        assert made.write(f"{C}/operations_attrs/{name}", value) == "ok"

    assert seen(made) == expected


def test_a_thread_of_a_container_has_its_number_there(making):
    processes = [
        {"name": name, "pid": pid, "cpus": "0", "inner_pid": 7,
         "areas": [{"size": "128MiB", "rate": "100%", "written": written}]}
        for name, pid, written in (("writer", OWN, "100%"), ("reader", OTHER, "0%"))
    ]  # fmt: skip
    for thread, expected in ((OWN, NONE), (7, BOTH)):
        made = making("damon-next", spec={"processes": processes})
        made.context("paddr").region(0, 1 << 31)
        made.write(BALANCING, 0)
        fault(made)
        place(made, [("threads", "N", "N", thread), ("threads", "Y", "Y", thread)])

        assert seen(made) == expected


def test_a_kernel_without_numa_balancing_takes_no_faults_for_it(making):
    made = making("damon-next", spec={"without": [BALANCING], "processes": [
        {"name": name, "pid": pid, "areas": [{"size": "128MiB", "rate": "100%"}]}
        for name, pid in (("writer", OWN), ("reader", OTHER))
    ]})  # fmt: skip
    made.context("paddr").region(0, 1 << 31)
    fault(made)

    assert made.read(BALANCING) == "ENOENT"
    assert seen(made) == BOTH
