"""A module and kdamonds exclude each other, whoever owns them."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode, Foreign, PolicyInvalid
from damonpolicy.kernel.damon.modules import parameter_path
from tests.engine.modules import KDAMONDS, LRU_SORT, RECLAIM, by_hand, policy, read, running
from tests.engine.site import Site
from tests.world import STAT_OFF


def test_a_policys_kdamonds_make_way_and_the_other_way_round(newest):
    newest.apply("kdamonds", text=KDAMONDS)
    with pytest.raises(PolicyInvalid, match="cannot run beside the kdamonds of `kdamonds`"):
        newest.apply("p", text=running())
    newest.remove("kdamonds")
    newest.apply("p", text=running())
    with pytest.raises(PolicyInvalid, match="`damon_reclaim` of `p` cannot run beside"):
        newest.apply("kdamonds", text=KDAMONDS)
    with pytest.raises(PolicyInvalid, match="`damon_reclaim` of `p` cannot run beside the module"):
        newest.apply("q", text=policy("q", LRU_SORT, enabled="true"))
    newest.remove("p")


def test_prune_lets_one_follow_the_other():
    site = Site("7.3")
    before = site.world.look()
    site.done("apply", site.policy("p", running()))
    site.done("apply", site.policy("k", KDAMONDS), "--prune")
    assert site.read(parameter_path(RECLAIM, "enabled")) == "N"
    site.done("apply", site.policy("p", running()), "--prune")
    assert site.read(parameter_path(RECLAIM, "enabled")) == "Y"
    site.done("rollback")
    assert site.read(parameter_path(RECLAIM, "enabled")) == "N"
    site.done("stop", "--all")
    assert site.world.look() == before
    site.close()


def test_someone_elses_kdamond_is_in_the_way(newest):
    newest.foreign(on=True)
    before = newest.look()
    with pytest.raises(Foreign, match=r"slot 0 runs one of someone else \(pid \d+\)") as caught:
        newest.apply("p", text=running())

    assert caught.value.exit_code == ExitCode.FOREIGN
    assert newest.look() == before


def test_someone_elses_module_is_in_the_way(newest):
    newest.write(STAT_OFF, "N")
    by_hand(newest, "enabled", "Y", LRU_SORT)
    with pytest.raises(Foreign, match="DAMON_LRU_SORT runs, and no other") as caught:
        newest.apply("p", text=running())

    assert caught.value.hint.endswith("`modules: {damon_lru_sort: {enabled: false}}`")
    with pytest.raises(Foreign, match="DAMON_LRU_SORT runs"):
        newest.apply("kdamonds", text=KDAMONDS)


def test_a_kdamond_that_starts_in_between_is_in_the_way(newest):
    """The kernel answers EBUSY; all is as it was, but for what the other has done."""

    def race(_, path, text):
        if path.endswith(f"{RECLAIM}/parameters/enabled") and text == "Y":
            newest.machine.before_write = None
            newest.foreign(on=True)

    newest.machine.before_write = race
    with pytest.raises(DamonPolicyError) as caught:
        newest.apply("p", text=running(min_age="5m"))

    assert "EBUSY" in caught.value.message
    assert (read(newest, "enabled"), read(newest, "min_age")) == ("N", "120000000")
