"""The lowest versions that are tested are those that are allowed."""

from __future__ import annotations

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lowest import constraints, groups
from tests.world import ROOT

TEXT = (ROOT / "pyproject.toml").read_text()
FOUND = list(constraints(TEXT))
UNBOUNDED = {"damonpolicy", "types-jsonschema", "types-PyYAML"}
"""Ourselves, and stubs, of which any will do."""


def test_every_library_has_a_lowest_version_that_is_tested():
    wanted = {re.split(r"[\[<>=]", each)[0] for group in groups(TEXT) for each in group}

    assert {each.partition("==")[0] for each in FOUND} == wanted - UNBOUNDED


def test_constraints_are_of_one_version():
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", each) for each in FOUND)
    assert "pyyaml==6.0.1" in FOUND
    assert "ruff==0.17" in FOUND, "what else bounds it does not matter"


def test_the_locked_versions_are_allowed_ones():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = (each.split("==") for each in lines if not each.startswith("#"))
    locked = {canonicalize_name(name): version for name, version in pairs}
    named = [Requirement(each) for group in groups(TEXT) for each in group]
    wanted = [each for each in named if each.name != "damonpolicy"]

    found = [(each, locked.get(canonicalize_name(each.name), "missing")) for each in wanted]
    assert [str(each) for each, version in found if version not in each.specifier] == []


def test_the_tests_that_other_versions_are_tried_on_are_there():
    named = re.search(r"^quick='(.*?)'", (ROOT / "tests/run").read_text(), re.DOTALL | re.MULTILINE)

    assert [each for each in named[1].split() if not (ROOT / each).exists()] == []
