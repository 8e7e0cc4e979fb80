"""The golden cases write every file and every word that any kernel has.

What counts for the tree of an observed kernel are cases on kernels whose directory of the file has
the same files: there the kernel's code is the same, as far as a listing can tell.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from damonpolicy.kernel.damon.schema import ROWS, pattern
from damonpolicy.kernel.system.machine import KDAMONDS

HERE = Path(__file__).parent
OBSERVED = HERE.parents[0] / "guest" / "observed"
TREES = sorted(OBSERVED.glob("tree-*.txt"))
LINE = re.compile(r"(?:/sys/kernel/mm/damon/)?(\S+) (?:0?)([0-7]{3})(?: (.*))?")

MEANINGLESS = {
    # a layer takes the types of its own only; these are what the other layer's types need
    r"\*/contexts/\*/schemes/\*/core_filters/\*/memcg_path",
    r"\*/contexts/\*/schemes/\*/ops_filters/\*/(addr_start|addr_end|damon_target_idx)",
    # for `probe_hits_wsum`, which no kernel that was listed has
    r"\*/contexts/\*/schemes/\*/core_filters/\*/(min|max)",
}
"""Files of a directory that all filters share, which no filter in that place can need."""


ONE_WORD = {r"\*/contexts/\*/monitoring_attrs/probes/\*/preps/\*/prep_action"}
"""Files that take a single word, and hold it from the beginning."""


def observed(listing):
    """Return the patterns of the writable files that a real kernel listed."""
    found = set()
    for line in listing.read_text().splitlines():
        parts = LINE.fullmatch(line)
        if parts and int(parts[2], 8) & 0o200:
            path = parts[1].removeprefix("admin/kdamonds/")
            found.add(path if path.startswith("/") else pattern(f"0/{path}").removeprefix("*/"))
    return found


def version(listing):
    """Return the emulated kernel that a listing's kernel is."""
    name = listing.stem.removeprefix("tree-")
    return ".".join(name.split(".")[:2]) if name[0].isdecimal() else name


@cache
def forms():
    """Return which writable files each directory has, by observed kernel."""
    found = {}
    for listing in TREES:
        directories = found[version(listing)] = {}
        for path in observed(listing):
            directory, _, name = path.rpartition("/")
            directories.setdefault(directory, set()).add(name)
    return found


@cache
def written():
    """Return the patterns of the files that the plans of all cases write, by their kernels."""
    found = {}
    for plan in HERE.glob("*/plan.json"):
        kernel = tomllib.loads((plan.parent / "case.toml").read_text())["kernel"]
        files = found.setdefault(kernel, set())
        for each in json.loads(plan.read_text())["operations"]:
            path = each["path"].removeprefix(f"{KDAMONDS}/")
            files.add(path if path.startswith("/") else pattern(f"0/{path}").removeprefix("*/"))
    return found


def written_on_alike(path, kernel):
    """Return whether a case writes a file on a kernel that has the same files in its directory."""
    directory = path.rpartition("/")[0]
    own = forms()[kernel][directory]
    return any(
        path in written().get(other, ())
        for other, directories in forms().items()
        if directories.get(directory) == own
    )


@cache
def trees():
    """Return (pattern, content) of everything that the cases leave in kernels."""
    return {
        (pattern(f"0/{path}").removeprefix("*/"), content)
        for tree in HERE.glob("*/tree.txt")
        for line in tree.read_text().splitlines()
        for path, _, content in [line.partition(" ")]
    }


def matches(path, expressions):
    return any(re.fullmatch(each, path) for each in expressions)


@pytest.mark.parametrize("listing", TREES, ids=lambda path: path.stem)
def test_every_writable_file_is_written_by_some_case(listing):
    files = observed(listing)

    assert len(files) > 60
    assert [
        path
        for path in sorted(files)
        if not written_on_alike(path, version(listing))
        and not matches(path, MEANINGLESS | ONE_WORD)
    ] == []


def test_exceptions_are_files_that_kernels_have():
    everything = set().union(*map(observed, TREES))
    on_observed = set().union(*(written().get(kernel, set()) for kernel in forms()))

    for expression in MEANINGLESS | ONE_WORD:
        assert any(re.fullmatch(expression, path) for path in everything), expression
        assert not any(re.fullmatch(expression, path) for path in on_observed), expression


@pytest.mark.parametrize(
    "file", [each for each in ROWS if each.kind == "word"], ids=lambda f: f.path
)
def test_every_word_is_said_by_some_case(file):
    """Every action, filter, goal metric, operation set, probe, tuner and kind of sample."""
    wanted = set(file.words)
    if re.search(r"/filters/\*/type$", file.path) and "/schemes/" in file.path:
        # kernels without layers take all types here; with layers each has its own
        layers = {
            content
            for path, content in trees()
            for name in ("filters", "core_filters", "ops_filters")
            if path == file.path.replace("/filters/", f"/{name}/")
        }
        assert wanted <= layers
        return
    assert wanted <= {content for path, content in trees() if path == file.path}


def test_booleans_are_seen_both_ways():
    contents = {}
    for path, content in trees():
        contents.setdefault(path, set()).add(content)
    flags = [each.path for each in ROWS if each.kind == "bool"]

    for flag in flags:
        if flag.endswith("obsolete_target") or "core_filters" in flag:
            continue  # the one is never left behind, the others are those of filters
        assert contents.get(flag) == {"Y", "N"}, flag
