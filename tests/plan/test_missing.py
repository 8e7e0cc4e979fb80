"""Filters on missing cgroups are left out only if all other memory is treated the same."""

from __future__ import annotations

import itertools

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.plan.ir import FilterLine
from damonpolicy.plan.missing import without, without_gone

BASE = "contexts/0/schemes/0"
GONE, THERE = "/gone", "/there"


def line(verb, kind, path="", *, negated=False):
    files = {
        "type": kind, "matching": "N" if negated else "Y", "allow": "Y" if verb == "allow" else "N",
        "memcg_path": path,
    }  # fmt: skip
    return FilterLine(files)


def left(*lines, directory="ops_filters"):
    found = without({f"{BASE}/{directory}": lines}, {GONE})
    return None if found is None else found[f"{BASE}/{directory}"]


REJECT, ALLOW = line("reject", "memcg", GONE), line("allow", "memcg", GONE)
ANON, YOUNG = line("allow", "anon"), line("reject", "young")


def test_a_reject_is_left_out():
    assert left(REJECT) == ()
    assert left(YOUNG, REJECT) == (YOUNG,)
    assert left(REJECT, ANON) == (ANON,)


def test_an_allow_of_nothing_never_allows_all():
    assert left(ALLOW) is None
    assert left(YOUNG, ALLOW) is None
    assert left(line("reject", "anon", negated=True), ALLOW) is None


def test_one_of_several_that_are_allowed_is_left_out():
    there = line("allow", "memcg", THERE)
    assert left(ALLOW, there) == (there,)
    assert left(there, ALLOW) == (there,)
    assert left(ALLOW, YOUNG) == (YOUNG,)


def test_a_reject_behind_allows_decides_about_the_rest():
    assert left(ANON, REJECT) is None


def test_everything_is_not_of_a_cgroup_that_is_gone():
    """`reject not` takes only that cgroup: nothing, now; `allow not` takes all."""
    assert left(line("reject", "memcg", GONE, negated=True)) is None
    assert left(line("allow", "memcg", GONE, negated=True)) == ()
    assert left(YOUNG, line("allow", "memcg", GONE, negated=True), ANON) == (YOUNG,)


def verdict(core, pages, page):
    """The kernel's: core filters first; a last page filter decides about the rest."""
    for each in (*core, *pages):
        files = each.files
        matched = page.get(files["type"]) == (files["memcg_path"] or True)
        if matched == (files["matching"] == "Y"):
            return files["allow"] == "Y"
    return not (core or pages) or (pages or core)[-1].files["allow"] != "Y"


LINES = [
    line(verb, kind, path, negated=negated)
    for verb in ("allow", "reject")
    for kind, path in (("anon", ""), ("memcg", GONE), ("memcg", THERE), ("addr", ""))
    for negated in (False, True)
]
PAGES = [
    {"anon": anon, "memcg": memcg, "addr": addr}
    for anon in (True, False) for memcg in ("", THERE) for addr in (True, False)
]  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("layered", [False, True])
def test_all_other_memory_fares_as_before(length, layered):
    for lines in itertools.product(LINES, repeat=length):
        core = tuple(each for each in lines if each.files["type"] == "addr")
        pages = tuple(each for each in lines if each.files["type"] != "addr")
        filters = {f"{BASE}/core_filters": core, f"{BASE}/ops_filters": pages}
        if not layered:
            filters = {f"{BASE}/filters": (*core, *pages)}
        found = without(filters, {GONE})
        if found is None:
            continue
        kept = [each for layer in found.values() for each in layer]
        assert not any(each.files["memcg_path"] == GONE for each in kept)
        for page in PAGES:
            after = ([x for x in kept if x in core], [x for x in kept if x not in core])
            assert verdict(core, pages, page) == verdict(*after, page), lines


def tree(*lines):
    found = {"contexts/0/schemes/nr_schemes": "1", f"{BASE}/filters/nr_filters": str(len(lines))}
    for index, each in enumerate(lines):
        found |= {f"{BASE}/filters/{index}/{name}": value for name, value in each.files.items()}
    return found


def test_a_tree_loses_the_filters_on_what_is_gone_and_keeps_all_else():
    machine = EmulatedMachine.create("7.3")
    machine.make_cgroup(THERE)
    there = line("reject", "memcg", THERE)

    assert without_gone(tree(YOUNG, REJECT, there), machine) == tree(YOUNG, there)
    assert without_gone(tree(there, YOUNG), machine) == tree(there, YOUNG)
    assert without_gone(tree(YOUNG, ALLOW), machine) == tree(YOUNG, ALLOW), "else it allows all"
