"""Names of files of DAMON's tree are spelled in the schema and the view, and else only by hand.

A name counts where a string is a path of the tree, or has a name that means nothing else. Whatever
is left has its reason here; a name that goes, goes from the list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import damonpolicy
from damonpolicy.kernel.damon.schema import ROWS

PACKAGE = Path(damonpolicy.__file__).parent
DESCRIBED = ("kernel/damon/schema.py", "kernel/damon/view.py")

BY_HAND = {
    "cli/commands/reports/histogram.py": ("total_bytes", "a key of our JSON"),
    "cli/commands/reports/snapshot.py": (
        "max_sample_us min_sample_us nr_tried qt_exceeds sz_applied sz_tried",
        "keys of our JSON",
    ),
    "cli/show/kdamond_text.py": (
        "nr_tried sz_applied sz_ops_filter_passed sz_tried",
        "keys of our JSON",
    ),
    "daemon/metrics.py": (
        "qt_exceeds sz_applied sz_ops_filter_passed sz_tried",
        "keys of our JSON",
    ),
    "emulated/profiles.py": ("operations_attrs", "the name of a feature"),
    "emulated/system/hardware.py": ("state", "a file of memory blocks"),
    "engine/state_directory.py": ("state", "a directory of the user"),
    "kernel/damon/features.py": ("operations_attrs", "the name of a feature"),
    "kernel/damon/words.py": ("page_fault page_table", "the policy's words for the primitives"),
    "kernel/forms.py": ("stats", "files of huge pages"),
    "observe/collect/running.py": ("max_sample_us min_sample_us", "keys of our JSON"),
    "observe/heatmap/matrix.py": ("hits", "a unit, hits a second"),
    "observe/records/damo.py": (
        "aggr_us intervals_goal sample_us total_bytes",
        "keys of damo's records",
    ),
    "observe/records/damo_regions.py": (
        "damon_target_idx memcg_path sz_filter_passed",
        "keys of damo's records",
    ),
    "observe/records/parquet.py": ("sample_us", "a column of our records"),
    "observe/records/parquet_read.py": ("sample_us", "a column of our records"),
    "observe/reports/snapshot.py": ("sample_us total_bytes", "keys of our JSON"),
    "observe/status/live_view.py": ("qt_exceeds sz_applied sz_tried", "keys of our JSON"),
    "plan/bind.py": ("targets", "a place in a policy, for errors"),
    "plan/ir.py": ("contexts", "the form of the paths in a stored policy"),
    "policy/compile/kdamond.py": ("operations_attrs", "the name of a feature"),
    "policy/compile/modules.py": ("addr_unit", "a parameter of a module"),
    "policy/compile/policies.py": ("targets", "a place in a policy, for errors"),
    "policy/importer/damo.py": ("tried_regions", "a key of damo's files that says nothing"),
    "policy/importer/kdamond.py": ("page_fault", "the policy's word for the primitive"),
    "policy/model/sample.py": ("page_fault page_table", "the policy's words for the primitives"),
    "policy/reading/hints.py": (
        "addr_end addr_start damon_target_idx memcg_path pid_target",
        "words that people write from habit, for hints",
    ),
    "policy/rules/kdamond.py": ("page_table", "the policy's word for the primitive"),
}
"""The names that a module spells, and why."""

_PARTS = {part for row in ROWS for part in row.path.split("/")} - {"*"}
_WORDS = {part for part in _PARTS if "_" not in part} | {
    "access_pattern",
    "addr_unit",
    "nr_accesses",
}
"""Names that are words elsewhere, too: these count only in a path."""
_ALONE = re.compile(rf"(?<![\w.-])(?:{'|'.join(sorted(_PARTS - _WORDS, key=len)[::-1])})(?![\w.-])")


def spelled(source: str) -> set[str]:
    """Return the names of the tree in a module's strings, without its docstrings."""
    tree = ast.parse(source)
    docstrings = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    return {
        name
        for each in ast.walk(tree)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
        if id(each) not in docstrings and " " not in each.value
        for name in _names(each.value)
    }


def _names(text: str) -> Iterator[str]:
    yield from (found[0] for found in _ALONE.finditer(text))
    if "/" in text:
        yield from _PARTS.intersection(text.split("/"))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('read("nr_schemes")', {"nr_schemes"}),
        ('read(f"{base}/quotas/bytes")', {"quotas", "bytes"}),
        ('BASE = "contexts/0/targets"', {"contexts", "targets"}),
        ('read("weight")', set()),
        ('say("the scheme\'s quotas/bytes are 0")', set()),
        ('def f():\n    """Return nr_schemes."""', set()),
    ],
)
def test_finds_names(code: str, names: set[str]) -> None:
    """Paths and names are found; words of a policy, sentences and docstrings are not."""
    assert spelled(code) == names


def test_names_stand_in_the_schema_and_the_view() -> None:
    """No other module describes the tree again, except by hand and with a reason."""
    found = {
        name: spelled(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in DESCRIBED
    }
    listed = {name: set(names.split()) for name, (names, _) in BY_HAND.items()}
    assert {name: names for name, names in found.items() if names} == listed
    assert all(reason for _, reason in BY_HAND.values())
