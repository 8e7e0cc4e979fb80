"""DAMON's modules: their parameters in one transaction, alone on the machine, put back at the end."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode, PolicyInvalid
from damonpolicy.emulated.damon.modules import Modules
from damonpolicy.kernel.damon.modules import COMMIT_INPUTS, REGION, parameter_path
from damonpolicy.observe.status.document import drift
from damonpolicy.plan.machine_state import retrieve
from tests.engine.modules import (
    KDAMONDS,
    RECLAIM,
    STAT,
    by_hand,
    policy,
    read,
    running,
    switched_on_by_hand,
)
from tests.engine.site import Site
from tests.world import STAT_OFF, World

KERNELS = ("5.18", "6.1", "6.12", "6.16", "6.18", "7.0", "7.1", "7.2", "7.3")


@pytest.fixture(params=KERNELS)
def world(request):
    made = World.make(request.param)
    yield made
    assert not made.machine.poisoned
    made.close()


def drifts(world):
    current = retrieve(world.machine, world.managed.settings)
    return [(each.path.rpartition("/")[2], each.found) for each in drift(current, world.managed)]


def writes(world, since):
    return [
        (each.path.rpartition("/")[2], each.text)
        for each in world.machine.log[since:]
        if "/parameters/" in each.path
    ]


def test_it_runs_as_written_and_leaves_nothing(world):
    before = world.look()
    world.apply("p", text=running(min_age="5m", quota_sz="64MiB", wmarks_high="60%"))

    assert read(world, "enabled") == "Y"
    assert read(world, "min_age") == "300000000"
    assert read(world, "quota_sz") == str(64 << 20)
    assert read(world, "wmarks_high") == "600"
    assert drifts(world) == []
    world.remove("p")
    assert world.look() == before


def test_parameters_come_before_the_module_and_go_after_it(newest):
    newest.apply("p", text=running(min_age="5m"))
    assert writes(newest, 0) == [("enabled", "N"), ("min_age", "300000000"), ("enabled", "Y")]
    count = len(newest.machine.log)
    newest.remove("p")

    names = [name for name, _ in writes(newest, count)]
    assert names == ["enabled", *reversed(REGION), "min_age", "enabled"]


def test_the_region_that_the_kernel_chooses_is_no_drift_and_goes_with_the_module(world):
    world.apply("p", text=running())
    chosen = [read(world, name) for name in REGION]

    assert chosen != ["0", "0"]
    assert drifts(world) == []
    count = len(world.machine.log)
    world.apply("p", text=running())
    assert len(world.machine.log) == count, "nothing to do"
    world.remove("p")
    assert [read(world, name) for name in REGION] == ["0", "0"]


def test_a_region_that_someone_changed_is_drift_and_is_put_right(newest):
    newest.apply("p", text=running())
    chosen = [read(newest, name) for name in REGION]
    by_hand(newest, REGION[1], "1073741824")
    assert drifts(newest) == [(REGION[1], "1073741824")]
    newest.apply("p", text=running())

    assert [read(newest, name) for name in REGION] == chosen


def test_a_region_that_is_no_longer_given_is_the_kernels_again(world):
    before = world.look()
    world.apply("p", text=running(monitor_region_start="1GiB", monitor_region_end="2GiB"))
    assert [read(world, name) for name in REGION] == [str(1 << 30), str(2 << 30)]
    world.apply("p", text=running())

    assert [read(world, name) for name in REGION] not in (["0", "0"], [str(1 << 30), str(2 << 30)])
    assert drifts(world) == []
    world.remove("p")
    assert world.look() == before


def test_a_module_that_runs_takes_changes(world):
    online = world.machine.exists(parameter_path(RECLAIM, COMMIT_INPUTS))
    world.apply("p", text=running(min_age="5m"))
    thread, count = read(world, "kdamond_pid"), len(world.machine.log)
    world.apply("p", text=running(min_age="6m"))

    assert read(world, "min_age") == "360000000"
    assert (read(world, "kdamond_pid") == thread) is online
    if online:
        assert writes(world, count) == [("min_age", "360000000"), (COMMIT_INPUTS, "Y")]
        assert read(world, COMMIT_INPUTS) == "N"
    else:
        assert writes(world, count) == [
            ("enabled", "N"), ("min_age", "360000000"), ("enabled", "Y"),
        ]  # fmt: skip


def test_someone_elses_module_gets_its_own_parameters_back(world):
    switched_on_by_hand(world)
    before = world.look()
    online = world.machine.exists(parameter_path(RECLAIM, COMMIT_INPUTS))
    thread = read(world, "kdamond_pid")
    world.apply("p", text=policy(min_age="5m"))
    count = len(world.machine.log)
    world.remove("p")

    assert read(world, "enabled") == "Y"
    assert read(world, "min_age") == "120000000"
    assert world.look() == before
    if online:
        assert writes(world, count) == [("min_age", "120000000"), (COMMIT_INPUTS, "Y")]
        assert read(world, "kdamond_pid") == thread


def test_a_module_that_someone_runs_is_taken_as_it_is(newest):
    switched_on_by_hand(newest)
    count = len(newest.machine.log)
    newest.apply("p", text=running())
    newest.remove("p")

    assert writes(newest, count) == []
    assert read(newest, "enabled") == "Y"


def test_it_is_shared_by_policies_that_say_the_same(newest):
    before = newest.look()
    newest.apply("a", text=policy("a", enabled="true", min_age="5m"))
    newest.apply("b", text=policy("b", enabled="true", quota_ms="20ms"))
    newest.remove("a")
    assert (read(newest, "enabled"), read(newest, "min_age")) == ("Y", "120000000")
    assert drifts(newest) == []
    newest.remove("b")

    assert newest.look() == before


def test_what_is_left_of_two_policies_has_to_go_together(newest):
    newest.apply("a", text=policy("a", max_nr_regions=5000))
    newest.apply("b", text=policy("b", enabled="true", min_nr_regions=2000))
    before = newest.look()
    with pytest.raises(PolicyInvalid, match=r"`min_nr_regions` \(2000\) is above") as caught:
        newest.remove("a")

    assert caught.value.code == "DP0201"
    assert newest.look() == before
    newest.remove("a", "b")


@pytest.mark.parametrize(
    ("first", "code"), [({"aggr_interval": "1h"}, "DP0220"), ({"wmarks_high": "10%"}, "DP0206")]
)
def test_so_has_what_two_policies_say_together(newest, first, code):
    """Also what would run: it would be otherwise than either of them says."""
    newest.apply("a", text=policy("a", **first))
    before = newest.look()
    with pytest.raises(PolicyInvalid, match="what does not go together") as caught:
        newest.apply("b", text=policy("b", enabled="true"))

    assert caught.value.code == code
    assert newest.look() == before


@pytest.mark.parametrize("pauses", [("2h", "2h"), ("1s", "2h"), ("2h", "1s")])
def test_one_that_would_keep_us_waiting_restarts(newest, pauses):
    """Neither a change nor an undo waits for hours until a module looks at its parameters."""
    newest.apply("p", text=running(wmarks_interval=pauses[0]))
    since, began = len(newest.machine.log), newest.machine.monotonic()
    newest.apply("p", text=running(wmarks_interval=pauses[1], min_age="5m"))

    names = [name for name, _ in writes(newest, since)]
    assert COMMIT_INPUTS not in names
    assert (names[0], names[-1]) == ("enabled", "enabled")
    assert read(newest, "min_age") == "300000000"
    assert newest.machine.monotonic() - began < 60
    newest.remove("p")


def test_damon_stat_runs_again_once_nothing_else_does(newest):
    """The policy that switched it off ends, but a kdamond of another policy runs."""
    start = newest.look()
    newest.apply("a", text=KDAMONDS.replace("name: kdamonds", "name: a"))
    newest.apply("b", text=KDAMONDS.replace("name: kdamonds", "name: b").split("modules:")[0])
    newest.remove("a")
    assert read(newest, "enabled", STAT) == "N"
    assert newest.managed.settings[STAT_OFF].users == ()
    newest.apply("b", text=KDAMONDS.replace("name: kdamonds", "name: b").split("modules:")[0])
    newest.remove("b")

    assert read(newest, "enabled", STAT) == "Y"
    assert newest.look() == start


def test_status_says_what_is_owed():
    site = Site("7.3")
    with_stat = KDAMONDS.replace("name: kdamonds", "name: a")
    site.done("apply", site.policy("a", with_stat))
    site.done(
        "apply", site.policy("b", with_stat.replace("name: a", "name: b").split("modules")[0])
    )
    outcome = site.done("remove", "a")
    assert "note: damon_stat is switched on again once no kdamond runs" in outcome.out
    assert f"{STAT_OFF}: N (was Y, put back once no kdamond runs)" in site.done("status").out
    site.done("stop", "--all")
    assert site.read(STAT_OFF) == "Y"
    site.close()


@pytest.mark.parametrize("kernel", ["6.12", "6.16"])
def test_a_kdamond_that_ends_of_its_new_parameters_is_told(kernel):
    """Only a race can bring that about: a parameter that someone spoils before it is handed over."""
    world = World.make(kernel)
    world.apply("p", text=running(wmarks_interval="1s"))

    def spoil(_, path, text):
        if path.endswith(COMMIT_INPUTS):
            world.machine.before_write = None
            by_hand(world, "min_nr_regions", "2")

    world.machine.before_write = spoil
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("p", text=running(wmarks_interval="1s", min_age="5m"))

    assert caught.value.exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert "its kdamond has ended" in caught.value.message
    assert read(world, "min_age") == "120000000"
    by_hand(world, "min_nr_regions", "10")
    if kernel == "6.12":
        world.recover()
        assert read(world, "enabled") == "Y"
        assert not world.places.journal.exists()
    else:
        with pytest.raises(DamonPolicyError, match="kdamond has ended"):
            world.recover()  # nothing but a boot helps that kernel
    world.close()


def test_a_wrecked_module_is_told_and_left_alone():
    """On 6.16 a module stays enabled when its kdamond has ended, and takes no other word."""
    site = Site("6.16")
    by_hand(site.world, "wmarks_interval", "1000")
    by_hand(site.world, "enabled", "Y")
    by_hand(site.world, "min_nr_regions", "2")
    by_hand(site.world, COMMIT_INPUTS, "Y")
    while read(site.world, COMMIT_INPUTS) == "Y":
        site.machine.sleep(0.001)
    by_hand(site.world, "min_nr_regions", "10")
    assert (read(site.world, "enabled"), read(site.world, COMMIT_INPUTS)) == ("Y", "N")

    outcome = site.run("apply", site.policy("p", running()))
    assert outcome.code == ExitCode.FOREIGN
    assert "`damon_reclaim` says that it is enabled, but its kdamond has ended" in outcome.err
    told = site.run("doctor")
    assert told.code == ExitCode.FAILED
    assert "problem: DAMON_RECLAIM says that it is enabled" in told.out
    site.done("apply", site.policy("q", policy("q", min_age="5m")))
    assert read(site.world, "min_age") == "300000000"
    site.done("apply", site.policy("k", KDAMONDS))
    site.done("stop", "--all")
    assert read(site.world, "min_age") == "120000000"
    site.close()


def test_a_module_that_never_takes_them_is_told(monkeypatch):
    world = World.make("6.18")
    world.apply("p", text=running())
    monkeypatch.setattr(Modules, "_look", lambda *_: None)
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("p", text=running(min_age="5m"))

    assert caught.value.exit_code == ExitCode.ROLLBACK_INCOMPLETE
    assert "not taken after 40 s" in caught.value.message
    monkeypatch.undo()
    world.recover()
    assert read(world, "min_age") == "120000000"
    world.close()


def test_what_an_older_module_does_anyway_is_not_missing():
    world = World.make("6.12")
    world.apply("p", text=running(addr_unit=1, autotune_monitoring_intervals="false"))
    assert read(world, "enabled") == "Y"
    world.remove("p")
    world.close()


def test_a_kernel_without_the_module_is_as_good_as_one_where_it_is_off():
    world = World.make("5.18")
    world.apply("p", text="version: 1\nname: p\nmodules: {damon_stat: {enabled: false}}\n")
    assert dict(world.managed.settings) == {}
    world.close()


def test_addresses_are_counted_in_units():
    world = World.make("6.18")
    before = world.look()
    world.apply(
        "p",
        text=running(addr_unit=4096, monitor_region_start="1GiB", monitor_region_end="2GiB"),
    )
    assert [read(world, name) for name in REGION] == [str(1 << 18), str(2 << 18)]
    world.remove("p")
    assert world.look() == before
    world.close()


def test_a_saved_plan_carries_modules():
    site = Site("7.3")
    path = str(site.directory / "plan.json")
    assert site.run("plan", site.policy("p", running()), "--out", path).code == ExitCode.CHANGES
    site.done("apply", "--plan", path)
    assert site.read(parameter_path(RECLAIM, "enabled")) == "Y"
    assert site.run("diff").code == 0
    site.close()


def test_settings_by_path_are_treated_alike(newest):
    """`modules:` is another way to write the same files."""
    before = newest.look()
    path = parameter_path(RECLAIM, "enabled")
    newest.apply("p", text=f"version: 1\nname: p\nsettings: {{{STAT_OFF}: N, {path}: Y}}\n")
    assert drifts(newest) == []
    newest.remove("p")

    assert newest.look() == before
