"""Mutated records of all forms, through `report`: `python -m tests.fuzz.records --count 30000`."""

from __future__ import annotations

import json
import random
import zlib
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from damonpolicy.observe.records import files as records
from damonpolicy.observe.records import parquet
from damonpolicy.observe.regions import Intervals, Regions, Series, Source, series_of
from damonpolicy.plan.facts import Target
from tests.conftest import Outcome
from tests.fuzz import harness, mutate
from tests.world import in_memory_directory

SEED = 20261130
NOW, SECOND = 1_700_000_000_000_000_000, 10**9
REPORTS = (("snapshot",), ("wss",), ("histogram",), ("heatmap", "--resolution", "8x4"), ("rank",))
FORMS = ("r.parquet", "old.parquet", "r.data", "r.json", "r.txt")
APART = 40
"""One in so many records without a checksum is read, as each takes a process of its own."""


def series(source: Source, count: int) -> Series:
    """Some snapshots of a few regions."""
    made = []
    for each in range(count):
        starts = [4096 * (row + each) for row in range(each % 5)]
        columns = ([at + 4096 for at in starts], [each % 20] * len(starts), [each] * len(starts))
        rows = Regions.of(starts, *columns, [0] * len(starts), passed=[4096] * len(starts))
        begin = NOW + each * SECOND
        made.append((begin, begin + SECOND, Intervals(5_000, 100_000), rows))
    return series_of(source, made)


@cache
def corpus() -> dict[str, bytes]:
    """A record in each form."""
    place = in_memory_directory()
    whole = [
        series(Source("p/k", scheme="s", ops="paddr", targets=(Target(7),)), 12),
        series(Source("q"), 4),
    ]
    for name in FORMS:
        path = str(place / name)
        if name != "old.parquet":
            records.write(path, whole, records.form_of(name))
            continue
        parquet.write(path, whole)
        table = pq.read_table(path)
        with pq.ParquetFile(path) as file:
            table = table.replace_schema_metadata(file.metadata.metadata)
        pq.write_table(table, path)  # as an older damonpolicy, without a checksum
    return {name: (place / name).read_bytes() for name in FORMS}


def made(number: int) -> tuple[str, bytes]:
    """Return the name and the content of a case."""
    chance = random.Random(SEED * 1_000_003 + number)
    name = chance.choice(FORMS)
    if name == "old.parquet" and number % APART:
        name = "r.json"
    data = corpus()[name]
    other = corpus()[chance.choice(FORMS)]
    if name in ("r.json", "r.data") and chance.random() < 0.6:
        text = data if name == "r.json" else zlib.decompress(data)
        if chance.random() < 0.6:
            found = mutate.of_data(json.loads(text), chance)
            text = json.dumps(found).encode()
        else:
            text = mutate.of_bytes(text, chance)
        return name, text if name == "r.json" else zlib.compress(text)
    if name == "r.txt" and chance.random() < 0.3:
        return name, mutate.of_lines(data.decode(), chance).encode("utf-8", "replace")
    return name, mutate.of_bytes(data, chance, other)


def case(number: int, place: Path) -> Outcome:
    """Report on one record."""
    name, data = made(number)
    path = place / name
    path.write_bytes(data)
    report = REPORTS[number % len(REPORTS)]
    return harness.cli("report", *report, str(path), *(("--format", "json") if number % 3 else ()))


if __name__ == "__main__":
    harness.main(case, "records", 30_000)
