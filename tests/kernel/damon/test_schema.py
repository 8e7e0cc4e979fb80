"""Rows of the schema: each file once, with a default that the file could show."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.schema import COUNTS, NUMBERS, ROWS, default, row


def test_each_file_has_one_row():
    paths = [each.path for each in ROWS]

    assert len(set(paths)) == len(paths)


def test_a_row_is_found_below_the_tree_and_below_a_slot():
    assert row("3/contexts/0/pause") is row("contexts/0/pause") is not None
    assert row("0/contexts/0/no_such") is None
    assert default("0/contexts/0/no_such") == "0"


def test_every_feature_of_a_row_or_word_is_known():
    known = {each.name for each in FEATURES} | {""}

    assert {each.feature for each in ROWS} | {
        one for each in ROWS for one in each.since.values()
    } <= known


@pytest.mark.parametrize("each", ROWS, ids=lambda each: each.path)
def test_the_default_fits_the_kind(each):
    if each.words:
        assert each.default in each.words or "core_filters" in each.path
    elif each.kind in NUMBERS:
        assert each.default.removeprefix("-").isdecimal()


def test_every_numbered_directory_has_its_count():
    numbered = {each.path.split("/*")[0].rpartition("/")[2] for each in ROWS if "/*" in each.path}

    assert "contexts" in numbered
    assert set(COUNTS) >= {"contexts", "schemes", "targets", "filters"}
