"""Options that all reports share: here, counting as damo does."""

from __future__ import annotations

import json

import pytest

RARELY = {
    "kdamond_idx": 0, "context_idx": 0, "scheme_idx": 0, "target_id": 0,
    "intervals": {"sample_us": "5000", "aggr_us": "2000000", "ops_update_us": "0"},
    "snapshots": [
        {
            "start_time": "0", "end_time": "2000000000",
            "regions": [
                {"start": str(at << 20), "end": str((at + size) << 20),
                 "nr_accesses": {"samples": samples}, "age": {"aggr_intervals": "90"}}
                for at, size, samples in ((0, 8, "3"), (8, 4, "0"))
            ],
        }
    ],
}  # fmt: skip
"""8 MiB that 3 of 400 samples found accessed, and 4 MiB that none did."""


@pytest.fixture
def rarely(tmp_path):
    path = tmp_path / "rarely.json"
    path.write_text(json.dumps([RARELY]))
    return str(path)


@pytest.mark.parametrize(
    ("options", "accessed", "temperature"),
    [((), "<1%", "18G"), (("--as-damo",), "0%", "-18,000,000,000")],
)
def test_what_was_hardly_accessed_is_idle_to_damo_alone(
    cli, rarely, options, accessed, temperature
):
    outcome = cli("report", "snapshot", rarely, *options)
    hardly, never = (line.split() for line in outcome.out.splitlines()[3:5])
    (found,) = cli("report", "snapshot", rarely, *options, "--format", "json").json["data"][
        "snapshots"
    ]

    assert hardly == ["0x0", "8MiB", accessed, "3m", temperature]
    assert never[2] == "0%"
    damo = bool(options)
    assert [row["idle_us"] for row in found["regions"]] == [182_000_000 * damo, 182_000_000]
    assert found["regions"][0]["access_percent"] == (0 if damo else 0.75)


@pytest.mark.parametrize(
    ("options", "idle", "temperature"),
    [((), "4MiB", "6G"), (("--as-damo",), "12MiB", "-18,000,000,000")],
)
def test_idle_bytes_of_a_rank_hold_what_was_hardly_accessed_only_as_in_damo(
    cli, rarely, options, idle, temperature
):
    line = cli("report", "rank", "--by", "idle", rarely, *options).out.splitlines()[-1]

    assert line.split()[-2:] == [idle, temperature]
