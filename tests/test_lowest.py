"""The lowest versions that are tested are those that are allowed."""

from __future__ import annotations

import re
import tomllib

from tests.lowest import constraints
from tests.world import ROOT

TEXT = (ROOT / "pyproject.toml").read_text()
FOUND = list(constraints(TEXT))
UNBOUNDED = {"damonpolicy", "types-jsonschema", "types-PyYAML"}
"""Ourselves, and stubs, of which any will do."""


def test_every_library_has_a_lowest_version_that_is_tested():
    project = tomllib.loads(TEXT)["project"]
    every = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[\[<>=]", each)[0] for group in every for each in group}

    assert {each.partition("==")[0] for each in FOUND} == wanted - UNBOUNDED


def test_constraints_are_of_one_version():
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", each) for each in FOUND)
    assert "pyyaml==6.0.1" in FOUND
    assert "ruff==0.17" in FOUND, "what else bounds it does not matter"
