"""A heatmap of 500 by 500 pixels of a large record, beside damo's.

    python -m bench.heatmap [REGIONS]

installs damo from PyPI into a temporary directory, makes a record of at least 500,000 regions
(always the same) as damo writes them, converts it to a record of ours, and has both write their
heatmap as numbers, each from its own record. Prints processor time and peak memory of whole
processes as ratios, since seconds mean nothing elsewhere, and compares what both say. Fails where
ours needs more than a tenth of damo's time, or more memory, or differs; and where reading damo's
own record makes it slower than damo. Needs root: damo sees no DAMON, as the kernel's files are
hidden from it in a mount namespace of its own.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from bench.guest import DAMO

ROOT = Path(__file__).parents[1]
SNAPSHOTS = 1_000
REGIONS = 520_000
MOST_TIME = 0.1
MOST_DIFFERENCE = 1e-4
"""damo cuts pixels to whole bytes and ns, so that its last ones are off by some hundreds of them."""
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


def nested(value: object, depth: int) -> str:
    """Write JSON as damo indents it, so deep within the record."""
    return json.dumps(value, indent=4).replace("\n", "\n" + " " * 4 * depth)


def regions(chance: random.Random, count: int) -> str:
    """Part 8 GiB by chance; hot in the middle, and the cold are so for a while."""
    pages = (8 << 30) // PAGE
    edges = [0, *sorted(chance.sample(range(1, pages), count - 1)), pages]
    # a text with places is some ten times faster than indenting each
    places = {
        "start": "%s",
        "end": "%s",
        "nr_accesses": {"samples": "%s", "percent": "%s"},
        "age": {"usec": "%s", "aggr_intervals": "%s"},
        "probe_hits": [],
        "sz_filter_passed": "0 B",
    }
    template = nested(places, 5)
    made = []
    for start, end in itertools.pairwise(edges):
        warm = max(0.0, 1 - abs((start + end) / pages - 1) * 3)
        accesses = min(int(warm * 20 * chance.random() * 1.5), 20)
        age = chance.randrange(1 if accesses else 40)
        numbers = (
            BASE + start * PAGE, BASE + end * PAGE, accesses, accesses * 5,
            age * AGGREGATION_US, age,
        )  # fmt: skip
        made.append(template % tuple(map(number, numbers)))
    return "[\n" + ",\n".join(" " * 20 + each for each in made) + "\n" + " " * 16 + "]"


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
            "intervals_goal": dict.fromkeys(
                ("access_bp", "aggrs", "min_sample_us", "max_sample_us"), number(0)
            ),
        },
        "scheme_idx": None,
        "target_id": number(0),
        "scheme_filters": [],
        "data_source": "damon_aggregated",
    }
    packer = zlib.compressobj(6)
    before, after = json.dumps([{**head, "snapshots": ["HERE"]}], indent=4).split('"HERE"')
    with open(path, "wb") as file:
        file.write(packer.compress(before.encode()))
        for index in range(SNAPSHOTS):
            snapshot = {
                "start_time": number(BEGUN + index * AGGREGATION_US * 1000),
                "end_time": number(BEGUN + (index + 1) * AGGREGATION_US * 1000),
                "total_bytes": None,
                "damos_stats": None,
                "sample_interval_us": number(SAMPLE_US),
                "regions": "HERE",
            }
            text = ", " * bool(index) + nested(snapshot, 3)
            text = text.replace('"HERE"', regions(chance, each))
            file.write(packer.compress(text.encode()))
        file.write(packer.compress(after.encode()) + packer.flush())


def measure(command: list[str], output: str, **environment: str) -> tuple[float, float]:
    """Run a process; return its processor seconds, and the most MiB that it had."""
    with open(output, "w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, env={**os.environ, **environment}, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)[:200]}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


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


def ours(folder: Path, record: str, rounds: int) -> tuple[float, float]:
    """Write ours, as often as is needed for a median."""
    command = [
        sys.executable, "-m", "damonpolicy", "report", "heatmap", record, "--range", "all",
        "--time", "all", "--resolution", "500x500", "--out", str(folder / "ours.csv"),
    ]  # fmt: skip
    found = [measure(command, os.devnull, DAMONPOLICY_FORBID_LIVE="1") for _ in range(rounds)]
    return sorted(found)[rounds // 2]


def difference(folder: Path) -> float:
    """Return by how much pixels differ at most, as a share of the hottest; the unknown is 0."""
    theirs = {}
    for line in (folder / "theirs").read_text().splitlines():
        time, address, heat = line.split()
        if heat not in ("NaN", "None", "nan"):
            theirs[int(time), int(address)] = float(heat)
    times, addresses = (sorted({key[axis] for key in theirs}) for axis in (0, 1))
    ranks = [{edge: rank for rank, edge in enumerate(edges)} for edges in (times, addresses)]
    placed = {(ranks[0][time], ranks[1][place]): heat for (time, place), heat in theirs.items()}
    with (folder / "ours.csv").open(newline="") as stream:
        rows = [tuple(map(float, row[1:])) for row in list(csv.reader(stream))[1:]]
    first, start = min(row[0] for row in rows), min(row[2] for row in rows)
    mine = {
        (round((row[0] - first) / (row[1] - row[0])), round((row[2] - start) / (row[3] - row[2]))):
        row[4] for row in rows
    }  # fmt: skip
    keys = placed.keys() | mine.keys()
    return max(abs(placed.get(key, 0) - mine.get(key, 0)) for key in keys) / max(placed.values())


def main(total: int) -> int:
    """Measure, print the ratios, and return what the process exits with."""
    with tempfile.TemporaryDirectory(prefix="damonpolicy-heatmap-") as directory:
        folder = Path(directory)
        install = [sys.executable, "-m", "pip", "install", "-q", "--target", f"{folder}/damo", DAMO]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        record, converted = str(folder / "record.damon"), str(folder / "record.parquet")
        # in processes of their own: a child's peak counts from what its parent holds
        for step in (["--write", record, str(total)], ["--convert", record, converted]):
            subprocess.run([sys.executable, "-m", "bench.heatmap", *step], check=True, cwd=ROOT)
        found = {
            "damo": damo(folder, record),
            "damonpolicy": ours(folder, converted, ROUNDS),
            "… of damo's record": ours(folder, record, 1),
        }
        differ = difference(folder)
    print(f"500x500 pixels of {total} regions in {SNAPSHOTS} snapshots, {DAMO}")
    print(f"{'':20}{'processor s':>12}{'/ damo':>8}{'MiB':>8}{'/ damo':>8}")
    ratios = {}
    for name, (seconds, memory) in found.items():
        ratios[name] = seconds / found["damo"][0], memory / found["damo"][1]
        print(
            f"{name:20}{seconds:>12.2f}{ratios[name][0]:>8.3f}{memory:>8.0f}{ratios[name][1]:>8.3f}"
        )
    print(f"largest difference of a pixel: {differ:.1e} of the hottest")
    slow = ratios["damonpolicy"][0] > MOST_TIME or max(each[0] for each in ratios.values()) > 1
    large = max(each[1] for each in ratios.values()) > 1
    return int(slow or large or differ > MOST_DIFFERENCE)


def convert(record: str, path: str) -> None:
    """Write damo's record as ours."""
    from damonpolicy.observe.records import files as records

    records.convert([record], path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--convert"]:
        convert(*sys.argv[2:])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else REGIONS))
