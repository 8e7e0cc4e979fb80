"""Malicious records: each is refused in a sentence, or shown without harm."""

from __future__ import annotations

import json
import os
import random
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from damonpolicy.base import limits
from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.observe.collect.trace import parse
from damonpolicy.observe.heatmap.tables import to_csv
from damonpolicy.observe.records import files as records
from damonpolicy.observe.records import parquet, parquet_read
from damonpolicy.observe.regions import Intervals, Regions, Series, Source, series_of
from damonpolicy.observe.temperature import age_us, working_sets
from damonpolicy.plan.facts import Target
from tests.observe.recorded import NOW

U64 = (1 << 64) - 1
EVENT = "kdamond.0 44 [001] 8.3: damon:damon_aggregated: target_id=0 nr_regions=1 0-9: 0 3"


USUAL = Intervals(5000, 100_000)
ANYONE = Source("k")


def one(source=ANYONE, begin=NOW, until=NOW + 10**9, intervals=USUAL, **of):
    columns = {"start": [4096], "end": [8192], "accesses": [1], "age": [2], **of}
    return series_of(source, [(begin, until, intervals, Regions.of(**columns))])


@pytest.mark.parametrize(
    "series",
    [
        one(begin=-1),
        one(until=(1 << 63) - 1),
        one(intervals=Intervals(-5, 100)),
        one(intervals=Intervals(1, (1 << 63) - 1)),
        one(target=[-7]),
        one(start=[8192], end=[4096]),
    ],
)
def test_numbers_that_no_kernel_tells_are_refused(series, tmp_path):
    path = str(tmp_path / "record.parquet")
    parquet.write(path, [series])

    with pytest.raises(PolicyInvalid, match="cannot be read as a record"):
        records.load(path)


@pytest.mark.parametrize(
    "values",
    [
        {"kdamond": "k", "target": -5},
        {"kdamond": "k", "target": 1 << 40},
        {"kdamond": "k", "slot": 10**30},
        {"kdamond": "k", "slot": True},
        {"kdamond": "k", "weights": [0, 1, 10**400]},
        {"kdamond": "k", "weights": [0, 1, float("inf")]},
        {"kdamond": "k", "weights": [0, 1, -1]},
        {"kdamond": "k", "weights": [0, 1]},
    ],
)
def test_sources_that_no_machine_has_are_refused(values):
    with pytest.raises((ValueError, TypeError)):
        parquet.source_of(values)


def test_halves_of_characters_are_written_as_question_marks(tmp_path):
    source = parquet.source_of({"kdamond": "k\ud800", "probes": ["\udfff"]})

    assert (source.kdamond, source.probes) == ("k?", ("?",))
    parquet.write(str(tmp_path / "whole.parquet"), [one(source)])


def test_a_target_that_is_not_known_has_a_name():
    assert replace(Source("k", targets=(Target(1),)), target=-5).name == "k, target -5"


def test_what_is_no_file_is_not_read(tmp_path):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)

    for path in (pipe, "/dev/zero"):
        with pytest.raises(PolicyInvalid, match="is a pipe or a device"):
            records.load(path)


def test_rows_that_take_no_place_in_a_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RECORD_ROWS_SMALL", limits.Limit("", 10, "", ""))
    monkeypatch.setattr(parquet_read, "_ROWS_A_BYTE", 0)
    path = str(tmp_path / "bomb.parquet")
    equal = {name: [1] * 11 for name in ("start", "end", "accesses", "age")}
    parquet.write(path, [one(**equal)])

    with pytest.raises(PolicyInvalid, match="11 rows are too many"):
        records.load(path)


def test_hits_that_take_no_place_in_a_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RECORD_ROWS_SMALL", limits.Limit("", 10, "", ""))
    monkeypatch.setattr(parquet_read, "_ROWS_A_BYTE", 0)
    path = str(tmp_path / "bomb.parquet")
    parquet.write(path, [one(hits=[[1] * 161])])

    with pytest.raises(PolicyInvalid, match="161 hits are too many"):
        records.load(path)


def test_damaged_files_are_refused_or_read(tmp_path):
    chance = random.Random(7)
    for name in ("a.parquet", "a.damo", "a.json", "a.txt"):
        path = tmp_path / name
        records.write(str(path), [one(), one(Source("other"))], records.form_of(name))
        whole = path.read_bytes()
        for _ in range(60):
            broken = bytearray(whole)
            if chance.random() < 0.3:
                del broken[chance.randrange(len(broken)) :]
            for _ in range(chance.choice((1, 2, 8)) if broken else 0):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            path.write_bytes(broken)
            try:
                found = records.load(str(path))
            except (PolicyInvalid, OSError):
                continue
            assert all(isinstance(each, Series) for each in found)


@pytest.mark.parametrize("rest", [" " * 50_000, "0 " * 50_000, "x" * 50_000])
def test_long_lines_take_no_longer_than_short_ones(rest):
    begun = time.process_time()

    assert not len(parse(f"{EVENT} probe_hits={rest}!\n"))
    assert time.process_time() - begun < 5  # it would be minutes


def test_large_numbers_stay_what_they_are():
    ages = age_us(np.array([(1 << 32) - 1], np.uint32), np.array([1 << 50]))
    assert 0 < ages[0] <= 1 << 62
    assert working_sets(one(start=[0], end=[U64])).tolist() == [U64]


def test_tables_hold_no_formulas_and_no_escapes():
    from damonpolicy.observe.heatmap.matrix import Window, heatmap

    made = heatmap(one(Source("=1+\x1b[31m" + "k" * 500)), Window(NOW, NOW + 9, 0, 9000), (1, 1))
    name = "".join(to_csv([made])).splitlines()[1].split(",")[0]

    assert name.startswith("\"'=1+\\x1b[31mkkk")
    assert len(name) < 220


def test_deep_and_endless_json_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    for text in ("[" * 200_000, '[{"snapshots": 1e400}]', json.dumps([{"a": 10**4000}]) * 2):
        path.write_text(text)
        with pytest.raises(PolicyInvalid, match=re.escape(str(path))):
            records.load(str(path))
