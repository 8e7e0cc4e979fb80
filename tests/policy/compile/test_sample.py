"""Access filters: reject the complement of each condition, then allow."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.policy.compile.sample import NUMA_BALANCING, sample_files
from damonpolicy.policy.model.sample import Accesses, NodeCpus
from tests.engine.site import Site, shipped


def chain(**accesses):
    """The filters as (type, detail, what matches, verdict)."""
    files = sample_files(Accesses(**accesses), EmulatedMachine.create("7.3"))
    assert (files["primitives/page_table"], files["primitives/page_fault"]) == ("N", "Y")
    result = []
    for index in range(int(files["filters/nr_filters"])):
        each = {
            name: files.get(f"filters/{index}/{name}", "")
            for name in ("type", "cpumask", "tid_arr", "matching", "allow")
        }
        result.append(
            (
                each["type"],
                each["cpumask"] or each["tid_arr"],
                "is" if each["matching"] == "Y" else "is not",
                "allow" if each["allow"] == "Y" else "reject",
            )
        )
    return result


def counts(filters, access):
    """Whether an access counts: the first filter that matches and rejects drops it."""
    for kind, detail, what, verdict in filters:
        is_so = {
            "write": access["write"],
            "cpumask": detail == access["cpus"],
            "threads": detail == access["threads"],
        }[kind]
        if is_so == (what == "is"):
            return verdict == "allow" if verdict == "reject" else True
    return False


@pytest.mark.parametrize(
    ("accesses", "expected"),
    [
        ({"kind": "write"}, [("write", "", "is not", "reject"), ("write", "", "is", "allow")]),
        ({"kind": "read"}, [("write", "", "is", "reject"), ("write", "", "is not", "allow")]),
        (
            {"cpus": "0-1,3"},
            [("cpumask", "0-1,3", "is not", "reject"), ("cpumask", "0-1,3", "is", "allow")],
        ),
        (
            {"cpus": NodeCpus(numa_node="1")},
            [("cpumask", "2-3", "is not", "reject"), ("cpumask", "2-3", "is", "allow")],
        ),
        (
            {"threads": ("7", "9")},
            [("threads", "7,9", "is not", "reject"), ("threads", "7,9", "is", "allow")],
        ),
        (
            {"kind": "write", "cpus": "0", "threads": ("7",)},
            [
                ("cpumask", "0", "is not", "reject"),
                ("threads", "7", "is not", "reject"),
                ("write", "", "is not", "reject"),
                ("write", "", "is", "allow"),
            ],
        ),
    ],
)
def test_filters(accesses, expected):
    assert chain(**accesses) == expected


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("thread", [True, False])
def test_all_conditions_have_to_hold(write, cpu, thread):
    access = {"write": write, "cpus": "0" if cpu else "x", "threads": "7" if thread else "x"}

    filters = chain(kind="write", cpus="0", threads=("7",))
    assert counts(filters, access) is (write and cpu and thread)


def test_without_a_machine_a_node_has_no_cpus():
    files = sample_files(Accesses(cpus=NodeCpus(numa_node="1")), None)

    assert files["filters/0/cpumask"] == ""


@pytest.mark.parametrize("name", ["ksm", "ksm-survey"])
def test_ksm_leaves_pages_to_the_scanner_and_its_survey_does_not(name):
    """No page that was sampled by a fault is merged: that look is a policy of its own."""
    site = Site("damon-next")
    before = site.read(NUMA_BALANCING)
    done = site.done("apply", shipped(name))
    paths = [path for path, _, _ in site.machine.log]
    surveys = name == "ksm-survey"

    assert ("DP0604" in done.err) == surveys
    assert any("/monitoring_attrs/sample/" in path for path in paths) == surveys
    assert (NUMA_BALANCING in paths) == (site.read(NUMA_BALANCING) != before) == surveys
    site.close()
