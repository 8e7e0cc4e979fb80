"""Changing policy files: applied and refused content, and the messages."""

from __future__ import annotations

import os

import pytest

from damonpolicy.base import log
from damonpolicy.daemon.jobs.reload import HELD, Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.session import changing
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import PAGES, RUN, settings

RECLAIM = """
version: 1
name: reclaim
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: cold
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}, age: {{min: 2m}}}}
        quota: {{size: {size}, every: 1s}}
"""


@pytest.fixture
def events():
    """What is logged."""
    told = []
    log.set_sink(lambda level, event, values: told.append((level, event, values)))
    yield told
    log._sinks.clear()


def test_what_is_there_at_the_start_is_applied(desk):
    desk.put("p.yaml", settings(pages=200))
    outcome = desk.reloader.look()

    assert (outcome.kind, outcome.generation) == ("applied", 1)
    assert (desk.read(RUN), desk.read(PAGES)) == ("1", "200")
    assert desk.world.managed.policies["p"].owner == f"service:{desk.directory}"


def test_a_change_is_applied_once_it_has_come_to_rest(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.reloader.look()
    desk.put("p.yaml", settings(pages=300))

    assert desk.reloader.look() is None
    assert desk.read(PAGES) == "200"
    assert desk.rest().kind == "applied"
    assert desk.read(PAGES) == "300"
    before = len(desk.world.machine.log)
    os.utime(desk.directory / "p.yaml")
    desk.rest()
    assert len(desk.world.machine.log) == before, "touched is not changed"


@pytest.fixture
def slow(desk):
    """A desk whose last change took 0.2 s to be made ready, and a list of what it slept."""
    desk.put("p.yaml", settings(pages=200))
    desk.reloader.look()
    desk.reloader._early = 0.2
    desk.put("p.yaml", settings(pages=300))
    desk.reloader.look()
    desk.world.machine.sleep(0.35)
    return desk


def during_the_wait(desk, monkeypatch, act):
    """Let something happen while the end of a rest is awaited; returns what is slept then."""
    slept, real = [], desk.world.machine.sleep

    def sleep(seconds):
        assert desk.world.places.journal.exists(), "all is ready but for the writes"
        slept.append(seconds)
        act()
        real(seconds)

    monkeypatch.setattr(desk.world.machine, "sleep", sleep)
    return slept


def test_a_change_is_made_ready_while_it_rests_and_written_no_sooner(slow, monkeypatch):
    since = len(slow.world.machine.log)
    slept = during_the_wait(
        slow, monkeypatch, lambda: slow.world.machine.log[since:] and pytest.fail("too soon")
    )
    assert slow.reloader.look().kind == "applied"

    assert 0.1 < sum(slept) <= 0.15
    assert slow.read(PAGES) == "300"


def test_what_changes_while_its_rest_is_awaited_is_not_applied(slow, monkeypatch):
    later = settings(pages=400)
    slept = during_the_wait(slow, monkeypatch, lambda: slow.put("p.yaml", later))
    assert slow.reloader.look() is None
    assert len(slept) == 1
    monkeypatch.undo()

    assert slow.read(PAGES) == "200"
    assert not slow.world.places.journal.exists()
    assert slow.world.managed.generation == 1
    assert slow.rest().generation == 2
    assert slow.read(PAGES) == "400"


def test_a_kdamond_is_changed_online_and_others_are_not_touched(desk):
    desk.put("a.yaml", RECLAIM.format(size="100MiB"))
    desk.put("b.yaml", RECLAIM.format(size="1MiB").replace("name: reclaim", "name: other"))
    desk.rest()
    pids = [desk.read(f"{KDAMONDS}/{slot}/pid") for slot in (0, 1)]
    since = len(desk.world.machine.log)
    desk.put("a.yaml", RECLAIM.format(size="200MiB"))
    assert desk.rest().kind == "applied"

    assert pids == [desk.read(f"{KDAMONDS}/{slot}/pid") for slot in (0, 1)]
    slot = desk.world.managed.slot_of("reclaim/k")
    written = {each.path.removeprefix(f"{KDAMONDS}/")[0] for each in desk.world.machine.log[since:]}
    assert written == {str(slot)}


def test_an_invalid_edit_changes_nothing_and_is_told_where_it_stands(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.put("q.yaml", settings("q", pages=200))
    desk.rest()
    desk.put("p.yaml", settings(pages=300).replace("settings", "setings"))
    desk.put("q.yaml", settings("q", pages=300))
    outcome = desk.rest()

    assert outcome.kind == "invalid"
    assert str(outcome.diagnostics[0].span) == f"{desk.directory}/p.yaml:3:1"
    assert desk.read(PAGES) == "200", "all of it or nothing"
    assert outcome.generation == 1
    desk.put("p.yaml", settings(pages=300))
    assert desk.rest().kind == "applied"
    assert desk.read(PAGES) == "300"


@pytest.mark.parametrize("rest", [0, 1])
def test_a_half_written_file_is_never_applied(desk, rest):
    """Neither while it is open, for however long, nor before it has rested."""
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    text = settings(pages=300)
    half = text[: text.index(PAGES) - 2]
    with (desk.directory / "p.yaml").open("w") as stream:
        stream.write(half)
        stream.flush()
        for _ in range(3):
            desk.rest()
            desk.world.machine.sleep(10)
        if rest:
            stream.write(text[len(half) :])
    if not rest:
        desk.reloader.look()
        with (desk.directory / "p.yaml").open("a") as stream:
            stream.write(text[len(half) :])
    assert set(desk.world.managed.settings) == {RUN, PAGES}
    assert desk.rest().kind == "applied"
    assert desk.read(PAGES) == "300"


def test_a_config_map_is_swapped_by_its_link(desk):
    """As Kubernetes does it: files are links into a directory that is itself a link."""
    for version, pages in (("..1", 200), ("..2", 300)):
        (desk.directory / version).mkdir()
        (desk.directory / version / "p.yaml").write_text(settings(pages=pages))
    (desk.directory / "..data").symlink_to("..1")
    (desk.directory / "p.yaml").symlink_to("..data/p.yaml")
    desk.rest()
    assert desk.read(PAGES) == "200"
    (desk.directory / "..new").symlink_to("..2")
    (desk.directory / "..new").replace(desk.directory / "..data")
    assert desk.rest().kind == "applied"

    assert desk.read(PAGES) == "300"


def test_what_failed_is_tried_again(desk):
    """Somebody holds the lock: that is no mistake of the policies."""
    desk.put("p.yaml", settings(pages=200))
    with changing(desk.world.machine, desk.world.places):
        outcome = desk.rest()
        assert outcome.kind == "failed"
        assert "another damonpolicy" in outcome.message
    now = desk.world.machine.monotonic()
    desk.world.machine.sleep(desk.reloader.next_look(now) - now)

    assert desk.rest().kind == "applied"


def test_variables_are_files_too(world, desk, tmp_path):
    values = tmp_path / "vars.yaml"
    values.write_text("pages: 200\n")
    desk.reloader.variables = (str(values),)
    desk.put("p.yaml", settings(pages='"{{ pages }}"') + "vars: {pages: 100}\n")
    desk.rest()
    assert desk.read(PAGES) == "200"
    values.write_text("pages: 300\n")
    desk.rest()

    assert desk.read(PAGES) == "300"


def test_a_service_that_starts_again_adopts_what_runs(desk):
    desk.put("a.yaml", RECLAIM.format(size="100MiB"))
    desk.rest()
    since = len(desk.world.machine.log)
    again = Reloader(Keeper(desk.world.machine, desk.world.places, [str(desk.directory)]))

    assert again.look().kind == "unchanged"
    assert len(desk.world.machine.log) == since


def test_at_the_end_everything_of_the_service_goes(desk):
    before = desk.world.look()
    desk.world.apply("hand", text=f"version: 1\nname: hand\nsettings: {{{RUN}: 1}}\n")
    desk.put("a.yaml", RECLAIM.format(size="100MiB"))
    desk.rest()

    assert desk.keeper.leave()
    assert list(desk.world.managed.policies) == ["hand"]
    desk.world.remove("hand")
    assert desk.world.look() == before


TUNED = """
version: 1
name: tuned
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    intervals:
      sample: 100ms
      aggregation: 2s
      auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}
    schemes:
      - {name: seen, action: stat, access_pattern: {size: {min: SIZE}}}
"""


def test_a_reload_keeps_results_ages_and_tuned_intervals(desk):
    machine, base = desk.world.machine, f"{KDAMONDS}/0"

    def look():
        """What the kernel has found out by now: times that it tried, the oldest region, intervals."""
        for command in ("stats", "tried_regions"):
            machine.write(f"{base}/state", f"update_schemes_{command}")
        scheme, runs = f"{base}/contexts/0/schemes/0", machine._kdamonds.running("0")
        regions = (each.name for each in machine.scan(f"{scheme}/tried_regions") if each.is_dir)
        ages = [int(desk.read(f"{scheme}/tried_regions/{each}/age")) for each in regions]
        # not from the files, which a reload has to bring up to date by itself
        return int(desk.read(f"{scheme}/stats/nr_tried")), max(ages), (runs["sample"], runs["aggr"])

    desk.put("p.yaml", TUNED.replace("SIZE", "4KiB"))
    desk.rest()
    machine.sleep(300)
    pid, (tried, age, tuned) = desk.read(f"{base}/pid"), look()
    assert tuned != (100_000, 2_000_000), "the kernel has tuned"
    since = len(machine.log)
    desk.put("p.yaml", TUNED.replace("SIZE", "8KiB"))
    assert desk.rest().kind == "applied"
    assert "commit" in {each.text for each in machine.log[since:]}

    assert machine.running(0)["schemes"]["0"]["access_pattern"]["sz"]["min"] == "8192"
    assert desk.read(f"{base}/pid") == pid
    after = look()
    assert after[0] >= tried
    assert after[1] >= age > 1_000
    assert after[2] == tuned
    assert "off" not in {each.text for each in machine.log[since:]}


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_is_held_open_is_told_of_and_never_taken(desk, events, begun):
    desk.put("q.yaml", settings("q", pages=200).replace(f"  {RUN}: 1\n", ""))
    if begun:
        desk.rest()
    before = desk.reloader.outcome
    with (desk.directory / "p.yaml").open("w") as stream:
        stream.write(f"version: 1\nname: p\nsettings:\n  {RUN}: 1\n")
        stream.flush()
        desk.put("q.yaml", settings("q", pages=300).replace(f"  {RUN}: 1\n", ""))
        desk.rest()
        assert desk.reloader.held == (), "for a moment that is nothing to tell of"
        for _ in range(20):
            desk.world.machine.sleep(1)
            assert desk.reloader.look() is None
        assert desk.reloader.held == (str(desk.directory / "p.yaml"),)
        assert desk.reloader.outcome is before, "nor is the other file taken"
        assert [each for each in events if each[1] == "reload waits"] == [
            ("warning", "reload waits", {"files": [f"{desk.directory}/p.yaml"], "reason": HELD})
        ]
    assert desk.rest().kind == "applied"

    assert desk.reloader.held == ()
    assert (desk.read(RUN), desk.read(PAGES)) == ("1", "300")


def test_a_file_that_is_held_open_and_not_changed_holds_up_nothing(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    with (desk.directory / "p.yaml").open("a"):
        for _ in range(10):
            desk.world.machine.sleep(1)
            desk.reloader.look()

        assert desk.reloader.held == ()


class TestAFileThatIsWrong:
    """It keeps what it held last; the others go on, where that can be told apart."""

    @pytest.fixture
    def two(self, desk):
        desk.put("p.yaml", RECLAIM.format(size="1MiB"))
        desk.put("q.yaml", RECLAIM.format(size="1MiB").replace("name: reclaim", "name: other"))
        desk.rest()
        return desk

    @staticmethod
    def size(desk, name):
        slot = desk.world.managed.slot_of(f"{name}/k")
        return desk.read(f"{KDAMONDS}/{slot}/contexts/0/schemes/0/quotas/bytes")

    @pytest.mark.parametrize(
        "wrong",
        ["name: [", RECLAIM.format(size="many"), "\t", RECLAIM.format(size="1MiB").replace(
            "paddr", "vaddr").replace("system_ram: true", "process: {pid: 0}")],
        ids=["syntax", "rule", "tab", "model"],
    )  # fmt: skip
    def test_does_not_hold_up_edits_of_others(self, two, wrong):
        two.put("p.yaml", wrong)
        two.put("q.yaml", RECLAIM.format(size="2MiB").replace("name: reclaim", "name: other"))
        outcome = two.rest()

        assert (outcome.kind, outcome.ok) == ("invalid", False)
        assert outcome.generation == two.world.managed.generation == 2
        assert f"not `{two.directory}/p.yaml`: what it held before stays" in outcome.message
        assert all(each.span.file == f"{two.directory}/p.yaml" for each in outcome.diagnostics)
        assert self.size(two, "other") == str(2 << 20)
        assert self.size(two, "reclaim") == str(1 << 20)

    def test_is_taken_once_it_is_right(self, two):
        two.put("p.yaml", "name: [")
        two.rest()
        two.put("p.yaml", RECLAIM.format(size="3MiB"))
        assert two.rest().kind == "applied"
        assert self.size(two, "reclaim") == str(3 << 20)

    def test_ends_no_policy_of_a_file_that_goes_before_it_is_right(self, two):
        """Nobody knows whether what it holds is that policy, renamed."""
        two.put("p.yaml", "name: [")
        (two.directory / "q.yaml").unlink()
        two.put("r.yaml", settings("r", pages=200))
        assert two.rest().kind == "invalid"
        assert sorted(two.world.managed.policies) == ["other", "r", "reclaim"]
        (two.directory / "p.yaml").unlink()
        assert two.rest().kind == "applied"
        assert sorted(two.world.managed.policies) == ["r"]

    def test_holds_up_who_would_disagree_with_what_it_held(self, desk):
        desk.put("p.yaml", settings(pages=200))
        desk.put("q.yaml", settings("q", pages=200))
        desk.put("r.yaml", RECLAIM.format(size="1MiB"))
        desk.rest()
        desk.put("p.yaml", settings(pages=300).replace("settings", "setings"))
        desk.put("q.yaml", settings("q", pages=300))
        desk.put("r.yaml", RECLAIM.format(size="2MiB"))
        outcome = desk.rest()

        assert outcome.kind == "invalid"
        assert {each.code for each in outcome.diagnostics} == {"DP0101", "DP0244"}
        assert desk.read(PAGES) == "200"
        assert self.size(desk, "reclaim") == str(2 << 20), "it has nothing to do with that"

    def test_both_are_wrong_that_disagree(self, desk):
        desk.put("p.yaml", settings(pages=200))
        desk.put("r.yaml", RECLAIM.format(size="1MiB"))
        desk.rest()
        desk.put("p.yaml", settings(pages=300))
        desk.put("q.yaml", settings("q", pages=400))
        desk.put("r.yaml", RECLAIM.format(size="2MiB"))
        assert desk.rest().kind == "invalid"
        assert desk.read(PAGES) == "200"
        assert "q" not in desk.world.managed.policies
        assert self.size(desk, "reclaim") == str(2 << 20)

    def test_is_one_for_what_this_machine_lacks_for_good(self, two):
        """A file of settings that is not there; what may come is waited for."""
        two.put("p.yaml", "version: 1\nname: reclaim\nsettings: {/proc/sys/vm/none: 1}\n")
        two.put("q.yaml", RECLAIM.format(size="2MiB").replace("name: reclaim", "name: other"))
        outcome = two.rest()
        assert outcome.kind == "invalid"
        assert outcome.diagnostics[0].span.file == f"{two.directory}/p.yaml"
        assert self.size(two, "other") == str(2 << 20)

    def test_of_variables_holds_up_all(self, world, desk, tmp_path):
        variables = tmp_path / "vars.yaml"
        variables.write_text("a: [1]\n")
        reloader = Reloader(desk.keeper, variables=[str(variables)])
        desk.put("p.yaml", settings(pages=200))
        assert reloader.look().kind == "invalid"
        assert desk.world.managed.policies == {}
