from __future__ import annotations

import csv
import io
import json

from damonpolicy.observe.heatmap.tables import guide, head, to_csv, to_json
from damonpolicy.observe.regions import Intervals, Regions, Source, series_of
from tests.observe.maps import BASE, BEGUN, MIB, S, made


def test_json_has_null_where_nothing_is_known():
    told = to_json(made([[0.0, None], [2.5, 7.0]]))

    assert json.loads(json.dumps(told)) == told
    assert told["values"] == [[0.0, None], [2.5, 7.0]]
    assert told["resolution"] == [2, 2]
    assert told["time_ns"] == {"begin": BEGUN, "end": BEGUN + 10 * S, "origin": BEGUN}
    assert told["addresses"] == {"start": BASE, "end": BASE + 8 * MIB}
    assert (told["lowest"], told["highest"], told["unit"]) == (0.0, 7.0, "accesses/s")
    assert head(made([[1]], unit="", sorted="hottest last"))["sorted"] == "hottest last"


def test_csv_has_a_line_for_each_pixel_that_is_known():
    rows = list(
        csv.DictReader(
            io.StringIO(
                "".join(to_csv([made([[0.0, None], [2.5, 7.0]], name='vm "a", scheme stat')]))
            )
        )
    )

    assert [row["accesses/s"] for row in rows] == ["0.0", "2.5", "7.0"]
    assert rows[1] == {
        "map": 'vm "a", scheme stat',
        "begin_ns": str(BEGUN + 5 * S),
        "end_ns": str(BEGUN + 10 * S),
        "start": str(BASE),
        "end": str(BASE + 4 * MIB),
        "accesses/s": "2.5",
    }


def test_the_guide_says_what_there_is():
    regions = Regions.of([0, 300], [200, 400], [2, 8], [0, 30])
    seen = series_of(Source("vm"), [(BEGUN, BEGUN + S // 10, Intervals(5_000, 100_000), regions)])

    told = guide(seen)

    assert told["time_ns"] == {
        "begin": BEGUN,
        "end": BEGUN + S // 10,
        "known_from": BEGUN - 3 * S,
    }
    assert [(each["size"], each["hottest"]) for each in told["areas"]] == [
        (200, False),
        (100, True),
    ]
    assert [each["accesses_per_second"] for each in told["areas"]] == [20.0, 80.0]
    assert guide(series_of(Source("vm"), []))["areas"] == []
