"""What `import` makes of damo's files, against what damo itself would write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.guest.fetch import Unavailable, get_peer
from tests.peer.compare import case, cases
from tests.peer.damo import READS, Damo

COUNT = 150


@pytest.fixture(scope="module")
def peer():
    try:
        home = get_peer()
    except Unavailable as why:
        if os.environ.get("DAMONPOLICY_REQUIRE_KERNELS"):
            raise
        pytest.skip(str(why))
    with Damo(home) as started:
        yield started


def test_each_value_is_what_damo_would_write_or_told(peer):
    outcomes = Counter()
    for number, text, form in cases(peer, COUNT):
        outcome, wrong = case(peer, text, form)
        outcomes[outcome] += 1
        assert not wrong, (number, form, text)
    assert outcomes["equal"] + outcomes["warned"] > COUNT // 3, outcomes


BARE = """\
[{"action": "pageout", "access_pattern": {
  "sz_bytes": {"min": 4096, "max": "max"}, "nr_accesses": {"min": 0, "max": 5},
  "age": {"min": 5000000, "max": "max"}}}]
"""


def test_the_comparison_sees_a_wrong_value(peer, monkeypatch):
    """A rate that is read as samples, say, as `import` once did."""
    assert case(peer, BARE, "json") == ("equal", [])
    monkeypatch.setattr("tests.peer.compare.written", lambda *_: [{}])
    _, wrong = case(peer, BARE, "json")

    assert (
        "0/contexts/0/schemes/0/access_pattern/nr_accesses/max: damo writes `1`, and we `0`"
        in wrong
    )


def test_damo_is_not_imported_where_its_tree_is_not_masked(tmp_path):
    (tmp_path / "_damon.py").write_text("raise SystemExit('imported')")
    done = subprocess.run(
        [sys.executable, "-I", READS, tmp_path],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    if not os.path.exists("/sys/kernel/mm/damon") and not os.path.exists("/sys/kernel/debug"):
        assert "imported" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "DAMON's directory is not masked: damo is not imported\n"
