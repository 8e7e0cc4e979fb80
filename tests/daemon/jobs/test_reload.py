"""Changing policy files: applied and refused content, and the messages."""

from __future__ import annotations

import os

import pytest

from damonpolicy.daemon.jobs.reload import Reloader
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
