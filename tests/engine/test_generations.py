"""Generations: rolling back to them, listing them, bringing them back at boot, forgetting them."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.engine import store as store_module
from damonpolicy.engine.state_directory import read_json, write_json
from damonpolicy.engine.store import Generation, NoGeneration, Store
from damonpolicy.plan.state import Managed, Pending
from tests.engine.site import KSM_RUN, Site, refuses, shipped

PAGES = "/sys/kernel/mm/ksm/pages_to_scan"
UNFED = """\
version: 1
name: fed
vars: {{size: 1MiB}}
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}}}
        quota:
          size: "{{{{ size }}}}"
          every: 1s
          goals: [{{metric: user_input, target: 100, from: {{file: {file}}}}}]
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""


def marks(site):
    return {row["generation"]: row["marks"] for row in site.json("history")["data"]["generations"]}


def test_back_to_any_of_them(site):
    looks = {0: site.world.look()}
    site.done("apply", shipped("ksm"))
    looks[1] = site.world.look()
    site.done("apply", shipped("monitor"))
    looks[2] = site.world.look()
    site.done("apply", shipped("ksm"), "--set", "cold_for=5m")
    looks[3] = site.world.look()
    for number in (1, 3, 2, 0, 2, 0):
        outcome = site.done("rollback", str(number))
        assert f"Back to generation {number}, verified" in outcome.out
        assert site.world.look() == looks[number], f"generation {number}"
    assert not site.machine.poisoned


def test_without_a_number_it_is_the_one_before(site):
    for value in (1, 2):
        site.done("apply", site.setting("a", value))
    site.done("rollback")
    assert site.read(KSM_RUN) == "1"
    site.done("rollback")
    assert site.read(KSM_RUN) == "2", "the rollback was a generation itself"


def test_a_rollback_to_what_is_in_force_changes_nothing(site):
    site.done("apply", site.setting("a", 1))
    before = len(site.machine.log)
    outcome = site.done("rollback", "1", "--format", "json").json

    assert outcome["changed"] is False
    assert outcome["data"]["generation"] == 1
    assert len(site.machine.log) == before


def test_a_number_that_there_is_not(site):
    assert site.run("rollback").code == ExitCode.USAGE
    site.done("apply", site.setting("a", 1))
    outcome = site.run("rollback", "7")

    assert outcome.code == ExitCode.USAGE
    assert "there is no generation 7" in outcome.err
    assert "hint: there are 0, 1: `damonpolicy history` lists them" in outcome.err
    assert site.run("rollback", "-1").code == ExitCode.USAGE


@pytest.mark.parametrize(
    "change",
    [{"when": "now"}, {"awaits": 0}, {"instead_of": None}, {"format": 2}, {"more": 1}],
    ids=lambda change: next(iter(change)),
)
def test_a_generation_that_says_what_none_of_ours_does_is_named(site, change):
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("a", 2))
    path = site.places.generations / "1.json"
    write_json(path, read_json(path) | change)
    outcome = site.run("rollback", "1")

    assert outcome.code not in (0, ExitCode.INTERNAL)
    assert f"`{path}` is damaged: " in outcome.err


def test_history_tells_why_and_which(site):
    assert site.done("history").out.splitlines()[1:] == ["no generation yet"]
    site.done("apply", site.setting("a", 1))
    site.done("apply", site.setting("b", 1))
    site.done("remove", "a")
    rows = site.json("history")["data"]["generations"]

    assert [row["generation"] for row in rows] == [1, 2, 3]
    assert [row["policies"] for row in rows] == [["a"], ["a", "b"], ["b"]]
    assert rows[2]["reason"] == "remove a"
    assert rows[0]["reason"].startswith("apply /")
    assert {row["kernel"] for row in rows} == {site.read("/proc/sys/kernel/osrelease")}
    assert marks(site) == {1: [], 2: [], 3: ["now", "confirmed"]}
    lines = site.done("history").out.splitlines()
    assert len(lines) >= 4
    assert "confirmed" in lines[-1]
    assert "remove a" in lines[-1]


def test_a_failed_change_leaves_no_generation(site, monkeypatch):
    path = "/sys/kernel/mm/ksm/max_page_sharing"
    site.done("apply", site.setting("a", 300, path))
    refuses(monkeypatch, path, errno.EBUSY)  # merged pages are shared already
    outcome = site.run("apply", site.setting("a", 400, path))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert marks(site) == {1: ["now", "confirmed"]}
    assert sorted(each.name for each in site.places.generations.iterdir()) == ["1.json"]


def test_numbers_are_never_used_twice(site):
    site.done("apply", site.setting("a", 1))
    site.machine.reboot()
    site.done("apply", site.setting("a", 2))

    assert site.world.managed.generation == 2
    assert marks(site) == {1: [], 2: ["now", "confirmed"]}


def test_many_are_forgotten_but_for_the_confirmed_one(site, monkeypatch):
    monkeypatch.setattr(store_module, "_KEPT", 3)
    store = Store(site.places)
    for number in range(1, 8):
        store.stage(Generation(number, 0.0, "t", "r", {}))
        waits = Pending(1.0, number - 1) if number > 2 else None
        assert store.finish(Managed("boot", generation=number, pending=waits)) == []

    assert store.numbers() == [2, 5, 6, 7]
    with pytest.raises(NoGeneration, match="no generation 3"):
        store.generation(3)
    assert store.generation(7).reason == "t"
    assert store.generation(0).policies == {}


def test_odd_names_beside_generations_are_none(site):
    site.done("apply", site.setting("a", 1))
    for name in ("x.json", "2.json.bak", ".3.json.4711"):
        (site.places.generations / name).write_text("{}")

    assert Store(site.places).numbers() == [1]


class TestBoot:
    def test_what_was_confirmed_comes_back(self, site):
        site.done("apply", shipped("ksm"), "--set", "cold_for=7m")
        before = site.world.look()
        site.machine.reboot()
        status = site.done("status").out
        assert "no policy is applied" in status
        assert "generation 1 is confirmed from before; `damonpolicy apply --boot`" in status
        assert "not in force on this boot" in site.done("doctor").out
        site.done("apply", "--boot")

        assert site.world.look() == before
        assert site.world.managed.policies["ksm"].variables == {"cold_for": "7m"}
        assert marks(site)[2] == ["now", "confirmed"]
        again = len(site.machine.log)
        assert "No changes." in site.done("apply", "--boot").out
        assert len(site.machine.log) == again

    def test_nothing_was_confirmed(self, site):
        assert "nothing was confirmed before this boot" in site.done("apply", "--boot").out
        site.done("apply", site.setting("a", 1))
        site.done("stop", "--all")
        site.machine.reboot()
        assert "nothing was confirmed before this boot" in site.done("apply", "--boot").out

    def test_each_policy_keeps_its_own_variables(self, site):
        """Both have a variable `window`; only one was changed."""
        site.done("apply", shipped("proactive-reclaim"), "--set", "window=2s")
        site.done("apply", shipped("memory-tiering"), "--set", "window=5s")
        site.done("apply", shipped("proactive-reclaim"), "--set", "most=64MiB")
        before = site.world.look()
        site.machine.reboot()
        site.done("apply", "--boot")

        assert site.world.look() == before

    def test_what_may_be_unfed_still_may(self, site):
        policy = site.policy("fed", UNFED.format(file=site.directory / "score"))
        assert site.run("apply", policy).code == ExitCode.INVALID
        site.done("apply", policy, "--unfed")
        before = site.world.look()
        site.machine.reboot()
        site.done("apply", "--boot")

        assert site.world.look() == before

    def test_whose_it_was_it_stays(self, site):
        site.done("apply", site.setting("a", 1))
        store = Store(site.places)
        generation = store.generation(1)
        owned = {"a": replace(generation.policies["a"], owner="service:/etc/d")}
        write_json(
            site.places.generations / "1.json", replace(generation, policies=owned).to_json()
        )
        site.machine.reboot()
        site.done("apply", "--boot")

        assert site.world.managed.policies["a"].owner == "service:/etc/d"

    def test_another_kernel_that_lacks_something_gets_nothing(self, site):
        site.done("apply", shipped("monitor"))
        site.done("apply", shipped("memory-tiering"))
        other = Site("6.12")
        shutil.copytree(site.places.lib, other.places.lib)
        before = other.world.look()
        outcome = other.run("apply", "--boot")

        assert outcome.code == ExitCode.UNSUPPORTED
        assert "generation 2: memory-tiering:" in outcome.err
        assert "Linux 6.16 has it" in outcome.err
        assert other.world.look() == before
        assert other.writes() == []
        other.close()

    def test_another_kernel_that_can_do_it_otherwise(self, site):
        """The policy is compiled again: this kernel has other files for the same."""
        site.done("apply", shipped("ksm"))
        other = Site("6.12")
        shutil.copytree(site.places.lib, other.places.lib)
        other.done("apply", "--boot")

        assert other.world.managed.slots[0].names["contexts/0/schemes/0"] == "cold-regions"
        other.close()

    @pytest.mark.parametrize("more", [("x.yaml",), ("--plan", "x.json")])
    def test_it_takes_nothing_else(self, site, more):
        assert site.run("apply", "--boot", *more).code == ExitCode.USAGE


MONITORED = """
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""


def test_a_scheme_that_was_asked_for_survives_a_boot(site):
    """A boot compiles the generation again, without the command's option."""
    site.done("apply", site.policy("p", MONITORED), "--monitor")
    site.machine.reboot()
    site.done("apply", "--boot")

    (kdamond,) = site.json("status")["data"]["kdamonds"]
    assert [each["name"] for each in kdamond["schemes"]] == ["monitor"]
