"""Filters of a policy as each kernel takes them."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.plan.ir import FilterLine
from damonpolicy.policy.compile import filters
from damonpolicy.policy.model.filters import Filter


def capabilities(**other):
    return Capabilities(
        {
            each.name: Answer(other.get(each.name.replace(".", "_"), "yes"), "test")
            for each in FEATURES
        }
    )


OLD = capabilities(filter_allow="no", filters_layers="no")
NEW = capabilities()


def said(line):
    verb = "allow" if line.files["allow"] == "Y" else "reject"
    no = "" if line.files["matching"] == "Y" else "not "
    below = " and below" if line.subtree else ""
    return f"{verb} {no}{line.files['memcg_path'] or line.files['type']}{below}"


def lines(*policy, known=NEW, machine=None):
    read = [Filter.model_validate(each) for each in policy]
    return [said(each) for each in filters.lines(read, known, machine)]


ONE = {"memcg": {"path": "/a", "subtree": "false"}}
ALL = {"memcg": "/user.slice"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ([], []),
        ([{"reject": "anon"}], ["reject anon"]),
        ([{"allow": {"not": "anon"}}], ["allow not anon"]),
        ([{"reject": {"not": ONE}}], ["reject not /a"]),
        ([{"reject": ALL}, {"allow": "anon"}], ["reject /user.slice and below", "allow anon"]),
        # "spare what is in none of these" is "take what is in one of them, and nothing else"
        ([{"reject": {"not": ALL}}], ["allow /user.slice and below"]),
        ([{"allow": {"not": ALL}}], ["reject /user.slice and below"]),
    ],
)
def test_kernels_that_allow(policy, expected):
    assert lines(*policy) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ([{"allow": "anon"}], ["reject not anon"]),
        ([{"allow": {"not": "anon"}}], ["reject anon"]),
        ([{"reject": "young"}, {"allow": ONE}], ["reject young", "reject not /a"]),
        # only the last, since it takes the default verdict's part
        ([{"allow": "anon"}, {"reject": "young"}], ["allow anon", "reject young"]),
        ([{"reject": ALL}], ["reject /user.slice and below"]),
    ],
)
def test_kernels_that_only_reject(policy, expected):
    assert lines(*policy, known=OLD) == expected


def test_a_subtree_of_one_cgroup_is_that_cgroup():
    machine = EmulatedMachine.create("6.12")
    assert lines({"allow": ALL}, known=OLD, machine=machine) == ["reject not /user.slice"]

    machine.make_cgroup("/user.slice/more")
    assert lines({"allow": ALL}, known=OLD, machine=machine) == ["allow /user.slice and below"]


def test_layers():
    read = [
        Filter.model_validate(each)
        for each in (
            {"reject": {"addr": {"start": "4KiB", "end": "8KiB"}}},
            {"reject": {"hugepage_size": {"min": "2MiB", "max": "1GiB"}}},
            {"allow": {"target": "1"}},
        )
    ]
    made = filters.lines(read, NEW, None)

    assert {
        name: [said(each) for each in found] for name, found in filters.split(made, NEW).items()
    } == {
        "filters": [],
        "core_filters": ["reject addr", "allow target"],
        "ops_filters": ["reject hugepage_size"],
    }
    assert {
        name: [said(each) for each in found] for name, found in filters.split(made, OLD).items()
    } == {
        "filters": ["reject addr", "reject hugepage_size", "allow target"],
    }
    addr, huge, target = made
    assert (addr.files["addr_start"], addr.files["addr_end"]) == ("4096", "8192")
    assert (huge.files["min"], huge.files["max"]) == (str(2 << 20), str(1 << 30))
    assert target.files["damon_target_idx"] == "1"


def test_nothing_stays_of_a_filter_that_stood_in_the_place():
    (anon,) = filters.lines([Filter.model_validate({"reject": "anon"})], NEW, None)

    assert anon.files == {
        "type": "anon", "matching": "Y", "allow": "N", "memcg_path": "", "addr_start": "0",
        "addr_end": "0", "damon_target_idx": "0", "min": "0", "max": "0",
    }  # fmt: skip
    assert set(filters.YOUNG.files) == set(anon.files)


def test_probes_call_the_path_otherwise():
    read = [
        Filter.model_validate(each) for each in ({"reject": "anon"}, {"allow": {"memcg": "/a"}})
    ]
    anon, memcg = filters.probe_lines(read)

    assert anon.files == {
        "type": "anon",
        "matching": "Y",
        "allow": "N",
        "path": "",
        "min": "0",
        "max": "0",
    }
    assert memcg.files == {
        "type": "memcg",
        "matching": "Y",
        "allow": "Y",
        "path": "/a",
        "min": "0",
        "max": "0",
    }
    assert (memcg.subtree, memcg.path_file) == (True, "path")


CORE = ("addr", "target", "probe_hits_wsum")
PAGES = [
    dict(zip((*CORE, "anon", "young"), each, strict=True)) for each in product((0, 1), repeat=5)
]
"""A page of each kind: what is true of it."""


def matches(page, line):
    return page[line.files["type"]] == (line.files["matching"] == "Y")


def wanted(page, lines):
    """The verdict of a list: the first that matches, else the opposite of the last."""
    for line in lines:
        if matches(page, line):
            return line.files["allow"] == "Y"
    return not lines or lines[-1].files["allow"] != "Y"


def given_by_the_kernel(page, lines):
    """mm/damon/core.c: damos_core_filter_out(), damos_set_filters_default_reject(); paddr.c."""
    core = [line for line in lines if line.files["type"] in CORE]
    pages = [line for line in lines if line.files["type"] not in CORE]
    for line in core:
        if matches(page, line):
            # core_filters_allowed: pages are looked at no more
            return line.files["allow"] == "Y"
    if not pages and core and core[-1].files["allow"] == "Y":
        return False
    named = any(line.files["type"] == "young" for line in pages)
    default = not pages or pages[-1].files["allow"] != "Y"
    for line in pages if named else [*pages, filters.YOUNG]:
        if matches(page, line):
            return line.files["allow"] == "Y"
    return default


def a_filter(kinds):
    made = st.tuples(st.sampled_from(kinds), st.sampled_from("YN"), st.sampled_from("YN"))
    return made.map(
        lambda each: FilterLine({"type": each[0], "matching": each[1], "allow": each[2]})
    )


@given(st.lists(a_filter(CORE), max_size=3), st.lists(a_filter(["anon"]), max_size=2))
def test_young_pages_are_spared_and_nothing_else_is_taken(core, pages):
    """Whatever a list allows, rejecting young pages lets in nothing that the list keeps out."""
    lines = [*core, *pages]
    made = filters.spare_young(lines)
    allows = any(line.files["allow"] == "Y" for line in made if line.files["type"] in CORE)

    for page in PAGES:
        taken = given_by_the_kernel(page, made)
        assert taken <= wanted(page, lines), (page, made)
        if not allows:
            assert taken == (wanted(page, lines) and not page["young"]), (page, made)


def test_the_only_allow_of_addresses_becomes_what_is_refused():
    first = FilterLine({"type": "addr", "matching": "N", "allow": "N"})
    last = FilterLine({"type": "target", "matching": "Y", "allow": "Y"})

    made = filters.spare_young([first, last])

    assert [said_briefly(each) for each in made] == ["N addr N", "N target N", "N young Y"]
    assert filters.spare_young([last, last]) == [last, last]


def said_briefly(line):
    return " ".join(line.files[name] for name in ("allow", "type", "matching"))


def line_of(kind, matching="N", **files):
    return FilterLine({"type": kind, "matching": matching, "allow": "N", **files})


def test_what_is_not_at_some_addresses_is_before_and_behind_them():
    made = filters.asked_of_pages(
        [
            line_of("addr", addr_start="4096", addr_end="8192"),
            line_of("target", damon_target_idx="0"),
            line_of("memcg"),
            line_of("addr", "Y", addr_start="1", addr_end="2"),
        ],
        OLD,
    )

    spans = [
        (each.files["addr_start"], each.files["addr_end"])
        for each in made
        if "addr_start" in each.files
    ]
    assert spans == [("0", "4096"), ("8192", str((1 << 64) - 1)), ("1", "2")]
    assert [each.files["matching"] for each in made] == ["Y", "Y", "N", "Y"]
    assert [each.files["type"] for each in made] == ["addr", "addr", "memcg", "addr"]


def test_newer_kernels_take_what_is_not_as_it_is():
    line = line_of("addr", addr_start="4096", addr_end="8192")

    assert filters.asked_of_pages([line], NEW) == [line]
