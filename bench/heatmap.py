"""A heatmap of 500 by 500 pixels of a large record, beside damo's.

    python -m bench.heatmap [REGIONS]

installs damo from PyPI into a temporary directory, makes a record of at least 500,000 regions
(always the same) in the form that damo reads, and has both write their heatmap of it as numbers.
Prints whole-process times and peak memory as ratios, and compares what both say. Fails where we
need more than a tenth of damo's time, or more memory. Needs root: damo sees no DAMON, as the
kernel's files are hidden from it in a mount namespace of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from bench.guest import DAMO

ROOT = Path(__file__).parents[1]
SNAPSHOTS = 1_000
REGIONS = 520_000
MOST_TIME = 0.1
MOST_MEMORY = 1.0
ROUNDS = 3
"""Of ours; damo takes too long for more than one."""
BASE = 0x7F00_0000_0000
PAGE = 4096
AGGREGATION_US = 100_000
SAMPLE_US = 5_000
BEGUN = 1_790_000_000_000_000_000


def number(value: int) -> str:
    """Write a number as damo does: as text, in groups of three digits."""
    return f"{value:,}"


def regions(chance: random.Random, count: int) -> list[dict]:
    """Part 8 GiB by chance; hot in the middle, and the colder the older."""
    pages = (8 << 30) // PAGE
    edges = [0, *sorted(chance.sample(range(1, pages), count - 1)), pages]
    made = []
    for start, end in itertools.pairwise(edges):
        warm = max(0.0, 1 - abs((start + end) / pages - 1) * 3)
        accesses = min(int(warm * 20 * chance.random() * 1.5), 20)
        age = chance.randrange(1 if accesses else 40)
        made.append(
            {
                "start": number(BASE + start * PAGE),
                "end": number(BASE + end * PAGE),
                "nr_accesses": {"samples": number(accesses), "percent": number(accesses * 5)},
                "age": {"usec": number(age * AGGREGATION_US), "aggr_intervals": number(age)},
                "probe_hits": [],
                "sz_filter_passed": "0 B",
            }
        )
    return made


def write(path: str, total: int) -> None:
    """Write a record, one snapshot at a time."""
    chance = random.Random(5)  # the same record each time
    each = -(-total // SNAPSHOTS)
    head = {
        "kdamond_idx": number(0),
        "context_idx": number(0),
        "intervals": {
            "sample_us": number(SAMPLE_US),
            "aggr_us": number(AGGREGATION_US),
            "ops_update_us": number(1_000_000),
            "intervals_goal": {
                "access_bp": number(0),
                "aggrs": number(0),
                "min_sample_us": number(0),
                "max_sample_us": number(0),
            },
        },
        "scheme_idx": None,
        "target_id": number(0),
        "scheme_filters": [],
        "data_source": "damon_aggregated",
    }
    packer = zlib.compressobj(1)
    before, after = json.dumps([{**head, "snapshots": ["HERE"]}]).split('"HERE"')
    with open(path, "wb") as file:
        file.write(packer.compress(before.encode()))
        for index in range(SNAPSHOTS):
            snapshot = {
                "start_time": number(BEGUN + index * AGGREGATION_US * 1000),
                "end_time": number(BEGUN + (index + 1) * AGGREGATION_US * 1000),
                "total_bytes": None,
                "damos_stats": None,
                "sample_interval_us": number(SAMPLE_US),
                "aggr_interval_us": number(AGGREGATION_US),
                "regions": regions(chance, each),
            }
            comma = "," if index else ""
            file.write(packer.compress((comma + json.dumps(snapshot)).encode()))
        file.write(packer.compress(after.encode()) + packer.flush())


def measure(command: list[str], output: str, **environment: str) -> tuple[float, float]:
    """Run a process and all of its children; return seconds, and MiB of the largest."""
    begun = time.monotonic()
    # spawned by a small process, as the peak of a fork counts from its parent's size
    with open(output, "w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, env={**os.environ, **environment}, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)[:200]}: exit code {process.returncode}")
    return time.monotonic() - begun, usage.ru_maxrss / 1024


def damo(folder: Path, record: str) -> tuple[float, float]:
    """Have damo write its pixels."""
    script = (
        "mount -t tmpfs none /sys/kernel/mm && [ ! -e /sys/kernel/mm/damon ] &&"
        f" mount -t tmpfs none /sys/kernel/debug && cd {shlex.quote(str(folder))} && exec"
        f" {shlex.quote(sys.executable)} {shlex.quote(str(folder / 'damo/bin/damo'))} report heatmap"
        f" --input {shlex.quote(record)} --resol 500 500 --draw_range all --output raw"
    )
    command = ["unshare", "-m", "sh", "-c", script]
    return measure(command, str(folder / "theirs"), PYTHONPATH=str(folder / "damo"))


def ours(folder: Path, record: str) -> tuple[float, float]:
    """Have ours written, as often as is needed for a median."""
    command = [
        sys.executable, "-m", "damonpolicy", "report", "heatmap", record, "--range", "all",
        "--time", "all", "--resolution", "500x500", "--out", str(folder / "ours.csv"),
    ]  # fmt: skip
    rounds = [measure(command, os.devnull, DAMONPOLICY_FORBID_LIVE="1") for _ in range(ROUNDS)]
    return sorted(rounds)[ROUNDS // 2]


def difference(folder: Path) -> tuple[int, int, float]:
    """Return how many pixels both have, and by how much they differ at most and in sum."""
    theirs: list[float] = []
    for line in (folder / "theirs").read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0][0].isdigit():
            theirs.append(float(words[2]) if words[2] not in ("NaN", "None") else 0.0)
    mine = [
        float(line.rsplit(",", 1)[1]) for line in (folder / "ours.csv").read_text().splitlines()[1:]
    ]
    return len(mine), len(theirs), sum(mine) / (sum(theirs) or 1)


def main(total: int) -> int:
    """Measure both, print the ratios, and return what the process exits with."""
    with tempfile.TemporaryDirectory(prefix="damonpolicy-heatmap-") as directory:
        folder = Path(directory)
        install = [sys.executable, "-m", "pip", "install", "-q", "--target", f"{folder}/damo", DAMO]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        record = str(folder / "record.damon")
        # in a process of its own, so that this one stays small
        subprocess.run([sys.executable, "-m", "bench.heatmap", "--write", record, str(total)],
                       check=True, cwd=ROOT)  # fmt: skip
        mine = ours(folder, record)
        theirs = damo(folder, record)
        counted = difference(folder)
    ratio = mine[0] / theirs[0], mine[1] / theirs[1]
    print(f"500x500 pixels of {total} regions in {SNAPSHOTS} snapshots, {DAMO}")
    print(f"{'':8}{'damonpolicy':>14}{'damo':>14}{'damonpolicy / damo':>22}{'at most':>10}")
    print(f"{'seconds':8}{mine[0]:>14.2f}{theirs[0]:>14.2f}{ratio[0]:>22.3f}{MOST_TIME:>10}")
    print(f"{'MiB':8}{mine[1]:>14.0f}{theirs[1]:>14.0f}{ratio[1]:>22.3f}{MOST_MEMORY:>10}")
    print(f"{'pixels':8}{counted[0]:>14}{counted[1]:>14}")
    print(f"sum of pixels, damonpolicy / damo: {counted[2]:.4f}")
    return int(ratio[0] > MOST_TIME or ratio[1] > MOST_MEMORY)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else REGIONS))
