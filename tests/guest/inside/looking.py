"""Recordings of a workload with a known pattern, damo's reports of them, and traces of reading."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damonpolicy.kernel.damon.tracing import TRACEFS

from .patient import read
from .policy import KDAMONDS, MIB, look, run, wait_for
from .workload import Range, Workload

__all__ = (
    "AREA",
    "SOURCES",
    "Pattern",
    "Undisturbed",
    "applied",
    "damo",
    "histograms",
    "pattern",
    "report",
    "said_by_damo",
    "total",
    "within",
)

SOURCES = ("trace", "regions")
AREA = 48
"""MiB of each area that is touched; that which never is has twice as many."""
_SNAPSHOTS = 10

# So slow that a guest keeps up, even beside others: an aggregation of it is one of the workload.
# No region is larger than the whole by the smallest count (`damon_region_sz_limit`): 2 MiB here. An
# area whose border lies within a region is off by less, and `within` allows 2.4 of its 48 MiB.
# Up to 7.0 it begins with one region, and takes a dozen aggregations to split it; the last region of
# an area, and one that was just merged, may be somewhat larger.
_SMALLEST_COUNT = 100
_PATTERN = """
version: 1
name: seen
kdamonds:
  - name: pattern
    ops: fvaddr
    targets: [{{process: {{pid: {pid}}}, regions: [{{start: {start}, end: {end}}}]}}]
    intervals: {{sample: 20ms, aggregation: 400ms}}
    region_count: {{min: {count}, max: 300}}
    schemes: [{{name: all, action: stat}}]
"""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Records of areas that were touched often, seldom and never, by how they were made."""

    often: Range
    seldom: Range
    never: Range
    files: dict[str, str]

    @property
    def whole(self) -> Range:
        """What was monitored."""
        return self.often[0], self.never[1]


def report(*arguments: object) -> Any:
    """Run a command, and return its data."""
    outcome = run(*arguments, "--format", "json")
    assert outcome.code == 0, outcome
    return outcome.data


@contextmanager
def applied(directory: Path, text: str) -> Iterator[None]:
    """Apply a policy, and take it back."""
    path = directory / "seen.yaml"
    path.write_text(text.lstrip(), encoding="utf-8")
    outcome = run("apply", path)
    try:
        assert outcome.code == 0, outcome
        yield
    finally:
        assert run("stop", "--all").code == 0


def _largest_region() -> int:
    words = ("--kdamond", "seen/pattern", "--source", "trace")
    (view,) = report("report", "snapshot", *words)["snapshots"]
    return max(row["size_bytes"] for row in view["regions"])


def pattern(directory: Path) -> Pattern:
    """Record a workload both ways, one after the other."""
    with Workload.start(AREA, 2 * AREA, warm_mib=AREA, warm_every=0.2) as load:
        whole = load.hot[0], load.cold[1]
        text = _PATTERN.format(pid=load.pid, start=whole[0], end=whole[1], count=_SMALLEST_COUNT)
        with applied(directory, text):
            assert wait_for(lambda: _largest_region() < 2 * total(whole) / _SMALLEST_COUNT)
            files = {}
            for source in SOURCES:
                files[source] = str(directory / f"{source}.parquet")
                report(
                    "record", "-o", files[source], "--source", source, "--interval", "400ms",
                    "--count", _SNAPSHOTS,
                )  # fmt: skip
        assert load.alive
    return Pattern(load.hot, load.warm, load.cold, files)


def _standing() -> dict[str, str]:
    """Return what reading must not change."""
    found = look()
    found |= {str(path): read(path) for path in sorted(KDAMONDS.glob("*/pid"))}
    tried = KDAMONDS.glob("*/contexts/*/schemes/*/tried_regions/[0-9]*")
    return found | {str(path): "tried" for path in tried}


class Undisturbed:
    """Demands that trees, states, pids and `tried_regions` stay as they are, and no trace is left."""

    def __init__(self) -> None:
        self._before = _standing()

    def check(self) -> None:
        """Look again."""
        assert _standing() == self._before
        assert list(Path(TRACEFS, "instances").iterdir()) == []

    def report(self, *arguments: object) -> Any:
        """Run a command, look again, and return its data."""
        data = report(*arguments)
        self.check()
        return data


PERCENTS = (0, 3, 20, 45, 70, 90, 100)
"""None that whole areas add up to: damo adds up rounded shares, and misses by a hair what is equal."""

_PARTS = (
    ("temperature", "bins", "<temperature-sz histogram>"),
    ("idle", "bins", "<recency-sz histogram>"),
    ("temperature", "percentiles", "<temperature percentiles>"),
    ("idle", "percentiles", "<recency percentiles>"),
)


def damo(*words: object) -> str:
    """Run damo, and return what it says."""
    peer = os.environ["DAMONPOLICY_PEER"]
    done = subprocess.run(
        [sys.executable, f"{peer}/bin/damo", *map(str, words)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": peer, "HOME": "/run"},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def said_by_damo(file: str) -> list[dict[Any, Any]]:
    """Return for each snapshot of a record the total that damo prints, histograms and percentiles."""
    template = "SNAPSHOT <total bytes> <number of regions>"
    template += "".join(f"\nPART\n{keyword}" for _, _, keyword in _PARTS)
    text = damo(
        "report", "access", "--input", file, "--raw_number", "--dont_merge_regions",
        "--percentiles_range", *PERCENTS,
        "--format", "set", "snapshot_head", template, "--format", "set", "region", "",
    )  # fmt: skip
    found = []
    for snapshot in text.split("SNAPSHOT ")[1:]:
        head, *parts = snapshot.split("\nPART\n")
        total, count = map(int, head.split())
        told: dict[Any, Any] = {"bytes": total, "regions": count}
        for (by, what, _), part in zip(_PARTS, parts, strict=True):
            expression = (
                r"^\[(-?\d+), (-?\d+)\)\s+(\d+) " if what == "bins" else r"^ *(\d+) +(-?\d+) "
            )
            rows = re.findall(expression, part, re.MULTILINE)
            told[by, what] = [tuple(map(int, row)) for row in rows]
        found.append(told)
    return found


def histograms(file: str, number: int) -> dict[Any, Any]:
    """Return the same of one snapshot as we print it."""
    view = report("report", "snapshot", file, "--snapshot", number)["snapshots"][0]
    told: dict[Any, Any] = {"bytes": view["total_bytes"], "regions": len(view["regions"])}
    percents = ",".join(map(str, PERCENTS))
    for by in ("temperature", "idle"):
        words = (
            "report",
            "histogram",
            file,
            "--snapshot",
            number,
            "--by",
            by,
            "--percentiles",
            percents,
        )
        found = report(*words)["histograms"][0]
        told[by, "bins"] = [(each["low"], each["high"], each["bytes"]) for each in found["bins"]]
        told[by, "percentiles"] = [
            (int(each["percent"]), each["value"]) for each in found["percentiles"]
        ]
    return told


def within(size: float, wanted: int, share: float = 0.05) -> bool:
    """Return whether a number of bytes is as wanted, but for a share of it."""
    return abs(size - wanted) <= share * wanted


def total(span: Range) -> int:
    """Return the bytes of a range; areas are of whole MiB."""
    assert (span[1] - span[0]) % MIB == 0
    return span[1] - span[0]
