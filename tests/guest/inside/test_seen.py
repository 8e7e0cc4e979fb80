"""Reports are right: a known workload on the real kernel, compared with damo."""

from __future__ import annotations

import itertools
import os
import pty
import select
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cgroups import cgroup
from .looking import (
    SOURCES,
    Pattern,
    Undisturbed,
    applied,
    damo,
    histograms,
    pattern,
    report,
    said_by_damo,
    total,
    within,
)
from .memory import pages
from .policy import MIB, has, look, run, wait_for
from .workload import Range, Workload

RATE_DECIDES = "0,1000000,1"
"""Weights of temperature: by default age decides, which tells little of what is touched how often."""
BLOCK = MIB // 2
DEADLINE = 120


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    before = look()
    yield
    assert before == look()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Pattern:
    """One pattern, recorded both ways."""
    return pattern(tmp_path_factory.mktemp("known"))


def overlap(one: Range, other: Range) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def check_hot_range(known: Pattern, file: str) -> None:
    """The heatmap shows it: what is at least half as hot as the hottest, over the whole time."""
    start, end = known.whole
    (found,) = report(
        "report", "heatmap", file, "--range", f"{start:#x}-{end:#x}",
        "--resolution", f"1x{(end - start) // BLOCK}",
    )["maps"]  # fmt: skip
    (row,) = found["values"]
    assert found["addresses"] == {"start": start, "end": end}
    assert len(row) * BLOCK == end - start
    blocks = [
        (start + index * BLOCK, start + (index + 1) * BLOCK)
        for index, value in enumerate(row)
        if value is not None and value >= max(filter(None, row)) / 2
    ]
    assert within(len(blocks) * BLOCK, total(known.often)), row
    inside = sum(overlap(each, known.often) for each in blocks)
    assert within(inside, total(known.often)), (blocks, known)


def check_working_set(known: Pattern, file: str) -> None:
    """All that is touched, however seldom, and no more: as bytes, and where it lies."""
    touched = total(known.often) + total(known.seldom)
    (found,) = report("report", "wss", file)["working_sets"]
    shares = {each["percent"]: each["bytes"] for each in found["percentiles"]}
    assert within(shares[50], touched), found

    views = report("report", "snapshot", file, "--snapshot", "all", "--temperature", "1..")
    hot = [[(row["start"], row["end"]) for row in each["regions"]] for each in views["snapshots"]]
    inside = [
        sum(overlap(row, area) for row in rows for area in (known.often, known.seldom))
        for rows in hot
    ]
    assert len(hot) == found["snapshots"]
    assert within(statistics.median(each["total_bytes"] for each in views["snapshots"]), touched)
    assert within(statistics.median(inside), touched)


def mean_temperature(file: str, area: Range) -> float:
    """Return that of all bytes of an area, over all snapshots."""
    words = ("--snapshot", "all", "--address", f"{area[0]:#x}-{area[1]:#x}")
    views = report(
        "report", "snapshot", file, *words, "--temperature-weights", RATE_DECIDES
    )["snapshots"]  # fmt: skip
    rows = [row for each in views for row in each["regions"]]
    assert sum(row["size_bytes"] for row in rows) == total(area) * len(views)
    return sum(row["temperature"] * row["size_bytes"] for row in rows) / (total(area) * len(views))


def check_order(known: Pattern, file: str) -> None:
    """Hotter is what is touched more often, and below zero what never is."""
    often, seldom, never = (
        mean_temperature(file, area) for area in (known.often, known.seldom, known.never)
    )
    assert often > seldom > 0 > never


CHECKS = (check_hot_range, check_working_set, check_order)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("check", CHECKS)
def test_a_known_pattern_is_found(known: Pattern, source: str, check) -> None:
    check(known, known.files[source])


@pytest.mark.long
@pytest.mark.parametrize("number", range(5))
def test_a_known_pattern_is_found_each_time(number: int, tmp_path: Path) -> None:
    """Five of five."""
    del number
    known = pattern(tmp_path)
    for check, source in itertools.product(CHECKS, SOURCES):
        check(known, known.files[source])


@pytest.mark.once
def test_damo_reads_our_record(known: Pattern, tmp_path: Path) -> None:
    """It prints the same totals, histograms and percentiles of what we converted for it."""
    for source in SOURCES:
        theirs = str(tmp_path / f"{source}.damo")
        converted = report("convert", known.files[source], theirs)
        told = said_by_damo(theirs)

        assert len(told) == converted["snapshots"]
        for number in (0, -1):
            assert told[number] == histograms(known.files[source], number)


@pytest.mark.once
def test_we_read_damos_record(tmp_path: Path) -> None:
    """Of what damo recorded by itself we print the same as it does."""
    if not has("scheme.filter_passed"):
        pytest.skip("damo cannot write its record on a kernel that tells nothing of passed filters")
    path = str(tmp_path / "record.damo")
    with Workload.start(16, 16) as load:
        damo("record", "--snapshot", "500ms", "2", "--do_record", "access", "--out", path, load.pid)
    run("stop", "--all")
    told = said_by_damo(path)

    assert len(told) == 2
    for number in (0, -1):
        assert told[number]["bytes"] > 32 * MIB
        assert told[number] == histograms(path, number)


TWO = """
version: 1
name: seen
kdamonds:
  - name: two
    ops: vaddr
    targets: [{{process: {{pid: {hot}}}}}, {{process: {{pid: {cold}}}}}]
    # ranks are of the last snapshot: long enough for a busy guest to run who is hot within it
    intervals: {{sample: 100ms, aggregation: 2s, update: 2s}}
    region_count: {{min: 20, max: 200}}
    schemes: [{{name: all, action: stat}}]
  - name: fixed
    ops: fvaddr
    targets: [{{process: {{pid: {hot}}}, regions: [{{start: {start}, end: {end}}}]}}]
    intervals: {{sample: 20ms, aggregation: 400ms}}
    schemes: [{{name: all, action: stat}}]
"""


def test_reports_of_what_runs(tmp_path: Path) -> None:
    """Each report says what is known from elsewhere, and nothing is other than before."""
    with (
        Workload.start(16, 16, node=1) as hot,
        Workload.start(0, 16) as cold,
        applied(
            tmp_path, TWO.format(hot=hot.pid, cold=cold.pid, start=hot.hot[0], end=hot.cold[1])
        ),
    ):
        whole = hot.cold[1] - hot.hot[0]
        still = Undisturbed()
        for source in SOURCES:
            words = ("--kdamond", "seen/fixed", "--source", source)
            (view,) = still.report("report", "snapshot", *words)["snapshots"]
            assert view["total_bytes"] == sum(row["size_bytes"] for row in view["regions"]) == whole
            assert view["targets"][0]["pid"] == hot.pid
            assert (view["regions"][0]["start"], view["regions"][-1]["end"]) == (
                hot.hot[0], hot.cold[1],
            )  # fmt: skip
            (found,) = still.report("report", "histogram", *words, "--by", "idle")["histograms"]
            assert sum(each["bytes"] for each in found["bins"]) == found["total_bytes"] == whole
            (found,) = still.report("report", "wss", *words)["working_sets"]
            assert 0 <= found["mean_bytes"] <= whole

        words = ("--kdamond", "seen/fixed", "--range", "all")
        maps = still.report("report", "heatmap", *words)["maps"]
        assert sum(each["addresses"]["end"] - each["addresses"]["start"] for each in maps) == whole

        path = str(tmp_path / "two.parquet")

        def ranks(*words: str) -> list[int]:
            return [each["pid"] for each in still.report("report", "rank", *words)["ranks"]]

        def recorded() -> bool:
            words = ("-o", path, "--force", "--kdamond", "seen/two", "--count", 2)
            assert still.report("record", *words)["snapshots"] == 2
            return ranks(path, "--by", "writes", "--reverse") == [hot.pid, cold.pid]

        # beside other work, the hot program may have no CPU during an aggregation or two
        assert wait_for(recorded)
        weights = ("--temperature-weights", "0,100,0")
        assert ranks(path, *weights) == [hot.pid, cold.pid]
        live = ("--source", "trace", "--kdamond", "seen/two", *weights)
        assert wait_for(lambda: ranks(*live) == [hot.pid, cold.pid])
        processes = still.report("report", "numa", "--kdamond", "seen/two")["processes"]
        held = {
            each["pid"]: {place["node"]: place["bytes"] for place in each["nodes"]}
            for each in processes
        }
        assert held.keys() == {hot.pid, cold.pid}
        # what is touched may have been moved to the node of its CPU
        assert pages(hot.pid, hot.cold).nodes == {1: 16 * MIB}
        assert held[hot.pid][1] >= 16 * MIB
        for load in (hot, cold):
            assert within(sum(held[load.pid].values()), sum(pages(load.pid).nodes.values()))


@pytest.mark.once
def test_pictures_of_what_runs(tmp_path: Path) -> None:
    """Each is made, the live screen too, and nothing is other than before."""
    with (
        Workload.start(16, 16) as hot,
        Workload.start(0, 16) as cold,
        applied(
            tmp_path, TWO.format(hot=hot.pid, cold=cold.pid, start=hot.hot[0], end=hot.cold[1])
        ),
    ):
        still = Undisturbed()
        text = run("report", "heatmap", "--kdamond", "seen/fixed")
        still.check()
        assert text.code == 0
        assert "seen/fixed" in text.out
        for name, begins in (("map.png", b"\x89PNG\r\n"), ("map.html", b"<!")):
            still.report("report", "heatmap", "--kdamond", "seen/fixed", "--out", tmp_path / name)
            assert (tmp_path / name).read_bytes().lstrip().lower().startswith(begins.lower())
        watch_top()
        still.check()


def watch_top() -> None:
    """Look at the live screen on a terminal, for three seconds, and end it by its key."""
    words = [sys.executable, "-m", "damonpolicy", "top", "--interval", "500ms"]
    environment = {**os.environ, "TERM": "xterm-256color", "LINES": "40", "COLUMNS": "120"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, words, environment)
    drawn = b""

    def draw(seconds: float, wanted: bytes = b"") -> bool:
        nonlocal drawn
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not (wanted and wanted in drawn):
            if select.select([terminal], [], [], left)[0]:
                try:
                    drawn += os.read(terminal, 1 << 16)
                except OSError:  # it has ended
                    return False
        return True

    try:
        assert draw(DEADLINE, b"seen/two"), drawn[-4000:]
        assert draw(3), drawn[-4000:]
        os.write(terminal, b"q")
        assert not draw(DEADLINE), drawn[-4000:]
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)
    assert b"seen/two" in drawn
    assert b"Traceback" not in drawn
    assert os.waitstatus_to_exitcode(status) == 0


PHYSICAL = """
version: 1
name: seen
kdamonds:
  - name: ram
    ops: paddr
    targets: [{system_ram: true}]
    intervals: {sample: 50ms, aggregation: 1s}
    region_count: {min: 100, max: 500}
    probes: [{name: anonymous, filters: [{allow: anon}]}]
    schemes:
      - name: anon
        action: stat
        filters: [{reject: {not: anon}}, {allow: {memcg: /seen.slice}}]
      - {name: all, action: stat}
"""


def without(text: str, *keys: str) -> str:
    """Return a policy without the lines that this kernel lacks the files for."""
    return "\n".join(
        line for line in text.splitlines() if line.strip().partition(":")[0] not in keys
    )


def test_pages_and_nodes(tmp_path: Path) -> None:
    """Bytes that pass are those of the cgroup, and each node's memory is seen as its own."""
    tells, probes = has("scheme.filter_passed"), has("probes")
    lacks = [key for key, there in (("filters", tells), ("probes", probes)) if not there]
    with (
        cgroup("seen.slice") as group,
        Workload.start(16, 48, cgroup=group, node=1),
        applied(tmp_path, without(PHYSICAL, *lacks)),
    ):
        words = ("--kdamond", "seen/ram", "--source", "regions")
        still = Undisturbed()
        views = still.report("report", "snapshot", *words)["snapshots"]
        of_scheme = {each["scheme"]: each for each in views}
        text = (group / "memory.stat").read_text(encoding="ascii")
        anon = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("anon "))
        assert anon > 64 * MIB
        assert of_scheme["all"]["passed_bytes"] is None
        if tells:
            assert within(of_scheme["anon"]["passed_bytes"], anon), (of_scheme["anon"], anon)
            (found,) = still.report("report", "histogram", *words, "--scheme", "anon")["histograms"]
            assert within(sum(each["passed_bytes"] for each in found["bins"]), anon)

        for source in SOURCES if probes else ():
            views = still.report("report", "snapshot", *words[:2], "--source", source)["snapshots"]
            hits = [row["probe_hits"]["anonymous"] for each in views for row in each["regions"]]
            assert 0 < max(hits) <= 20, hits

        (placed,) = still.report("report", "numa", *words, "--scheme", "all")["placements"]
        nodes = {each["node"]: each for each in placed["nodes"]}
        # what belongs to no page of a node's RAM is of none: a KiB before the first MiB
        seen = nodes[0]["seen_bytes"] + nodes[1]["seen_bytes"]
        assert within(seen, of_scheme["all"]["total_bytes"], 0.001)
        for node in (0, 1):
            assert within(nodes[node]["seen_bytes"], nodes[node]["ram_bytes"], 0.01), nodes
