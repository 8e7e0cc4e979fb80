"""Commands without pyarrow: those that need it say so, the others work."""

from __future__ import annotations

import os
import sys

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.observe.records import files as records
from tests.cli.commands.test_convert import series
from tests.policies import LOOK

SAID = """\
error[DP0501]: records as Parquet need pyarrow
  hint: `pip install 'damonpolicy[records]'`; a FILE.data or FILE.json needs none
"""


@pytest.fixture
def lacking(site, tmp_path, monkeypatch):
    """A site with one kdamond and two records, where nothing can import pyarrow any more."""
    monkeypatch.chdir(tmp_path)
    site.done("apply", site.policy("look", LOOK))
    records.write("a.parquet", [series()], "parquet")
    records.write("a.data", [series()], "damo")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    return site


@pytest.mark.parametrize(
    "words",
    [
        ["record", "--count", "1"],
        ["record", "--count", "1", "-o", "new.parquet"],
        ["convert", "a.parquet", "new.data"],
        ["convert", "a.data", "new.parquet"],
        ["report", "wss", "a.parquet"],
        ["report", "heatmap", "a.parquet"],
        ["report", "snapshot", "a.data", "a.parquet"],
    ],
    ids=" ".join,
)
def test_what_needs_it_says_so_and_begins_nothing(lacking, words):
    before = sorted(os.listdir())
    done = lacking.run(*words)

    assert done.code == ExitCode.USAGE
    assert done.err.endswith(SAID)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["record", "--count", "1", "-o", "new.data"],
        ["convert", "a.data", "new.json", "--form", "damo-json"],
        ["report", "wss", "a.data"],
        ["report", "snapshot"],
    ],
    ids=" ".join,
)
def test_what_does_not_need_it_works(lacking, words):
    assert lacking.run(*words).code == 0
