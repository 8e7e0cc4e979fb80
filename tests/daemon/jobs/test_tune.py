"""Loops: moved and untouched values, on whole emulated machines."""

from __future__ import annotations

import errno
import os
import time

import pytest

from damonpolicy.base import log
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.daemon.conftest import PAGES, RUN, Desk
from tests.policies import toward_goals
from tests.world import STAT_OFF, World

PACE = f"""
version: 1
name: pace
settings:
  {RUN}: 1
  {PAGES}: 100
tuning:
  - name: scan
    setting: {PAGES}
    from: {{file: FILE}}
    bounds: {{min: 50, max: 1000}}
    every: 10s
    fall_back: 80
    fall_back_after: 1m
"""
RECLAIM = """
version: 1
name: reclaim
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    INTERVALS
    schemes:
      - name: cold
        action: pageout
        access_pattern: {access_rate: {max: 0%}, age: {min: AGE}}
        quota: {size: 100MiB, every: 1s}
TUNING
"""
BYTES = f"{KDAMONDS}/0/contexts/0/schemes/0/quotas/bytes"


class TuningDesk(Desk):
    """A desk whose loops are run."""

    def __init__(self, world, directory):
        super().__init__(world, directory / "policies")
        self.number = directory / "number"
        self.number.write_text("500")
        self.begin()

    def begin(self):
        """Forget what the service knows: it starts anew."""
        self.tune = TuneJob(self.keeper)

    def apply(self, text, name="p.yaml"):
        self.put(name, text.replace("FILE", str(self.number)))
        outcome = self.rest()
        assert outcome.ok, (outcome.message, outcome.diagnostics)

    def window(self, seconds=10):
        """Run the loops once, and let a window pass."""
        self.tune.run()
        self.world.machine.sleep(seconds)

    @property
    def trouble(self):
        return "; ".join(self.tune.troubles().values())


@pytest.fixture
def make(tmp_path):
    made = []

    def make(kernel="7.3"):
        world = World.make(kernel)
        if world.machine.exists(STAT_OFF):
            world.write(STAT_OFF, "N")
        made.append(world)
        return TuningDesk(world, tmp_path)

    yield make
    for world in made:
        assert not world.machine.poisoned
        world.close()


@pytest.fixture
def desk(make):
    return make()


@pytest.fixture
def events():
    """What is logged."""
    seen = []
    log.set_sink(lambda level, event, values: seen.append((level, event, values)))
    yield seen
    log._sinks.clear()


def test_a_setting_follows_a_number(desk):
    desk.apply(PACE)
    seen = []
    for _ in range(4):
        desk.window()
        seen.append(desk.read(PAGES))
    assert seen == ["125", "156", "195", "244"]
    for _ in range(10):
        desk.window()
        seen.append(desk.read(PAGES))
    assert int(seen[-1]) == pytest.approx(500, rel=0.05)
    assert desk.tune.moves == len(set(seen)), "what is right is not written again"
    assert abs(desk.tune.errors()["pace/scan"]) <= 0.05


def test_it_moves_in_its_own_time_only(desk):
    desk.apply(PACE)
    for _ in range(20):
        desk.window(0.5)
    assert desk.read(PAGES) == "125"


def test_a_reload_goes_on_from_where_it_is_and_the_end_puts_back(desk):
    before = desk.read(PAGES)
    desk.apply(PACE)
    desk.window()
    desk.apply(PACE.replace("name: pace", "name: pace\ndescription: paced"))
    assert desk.read(PAGES) == "125"
    desk.window()
    assert desk.read(PAGES) == "156"
    desk.apply(PACE.replace("max: 1000", "max: 150"))
    assert desk.read(PAGES) == "100", "another loop begins where the policy says"
    (desk.directory / "p.yaml").unlink()
    desk.rest()
    assert desk.read(PAGES) == before


def test_a_service_that_starts_anew_goes_on(desk):
    desk.apply(PACE)
    for _ in range(3):
        desk.window()
    since = len(desk.world.machine.log)
    desk.reloader.again()
    assert desk.rest().kind == "unchanged"
    assert len(desk.world.machine.log) == since
    desk.begin()
    desk.window()
    assert desk.read(PAGES) == "244"


def test_without_a_number_it_stands_still_and_falls_back_in_the_end(desk):
    desk.apply(PACE)
    desk.window()
    desk.number.unlink()
    for _ in range(5):
        desk.window()
        assert desk.read(PAGES) == "125"
    assert "no such file" in desk.trouble
    assert desk.tune.errors() == {}
    desk.window()
    assert desk.read(PAGES) == "80"
    desk.number.write_text("500")
    desk.window()
    assert (desk.read(PAGES), desk.trouble) == ("100", "")


def test_an_old_number_is_none(desk):
    desk.apply(PACE)
    os.utime(desk.number, (time.time() - 1_000,) * 2)
    desk.window()
    assert desk.read(PAGES) == "100"
    assert "s old" in desk.trouble


@pytest.mark.parametrize("text", ["nan", "inf", "-5e300", "0x10", "", "a b", "1e999999999"])
def test_no_number_moves_out_of_bounds(desk, text):
    desk.apply(PACE)
    desk.number.write_text(text)
    for _ in range(5):
        desk.window()
        assert 50 <= int(desk.read(PAGES)) <= 1_000


def test_what_someone_else_has_set_is_left_alone(desk):
    desk.apply(PACE)
    desk.world.machine.write(PAGES, "700")
    desk.window()
    assert desk.read(PAGES) == "700"
    assert "changed by someone" in desk.trouble


def test_a_move_that_fails_is_counted_told_and_logged_once(desk, events):
    """And keeps no other policy's loop from moving."""
    desk.apply(PACE)
    desk.apply(reclaim(TUNING), "q.yaml")

    def refuses(_, path, text):
        if path == PAGES and text != "100":
            raise OSError(errno.EINVAL, "invalid")

    desk.world.machine.before_write = refuses
    for _ in range(3):
        desk.window()
    assert desk.read(PAGES) == "100"
    assert int(desk.read(BYTES)) > 100 << 20
    assert list(desk.tune.troubles()) == ["pace/scan"]
    assert "Invalid argument" in desk.trouble or "invalid" in desk.trouble
    assert desk.keeper.rollbacks == 3
    assert [name for _, name, _ in events].count("tune") == 1

    desk.world.machine.before_write = None
    desk.window()
    assert (desk.read(PAGES), desk.trouble) == ("125", "")


TUNING = """
tuning:
  - name: quota
    quota: k/cold
    from: {file: FILE}
    target: 1000
    bounds: {min: 1MiB, max: 300MiB}
    every: 2s
"""


def reclaim(tuning="", *, age="2m", intervals=""):
    text = RECLAIM.replace("TUNING", tuning).replace("AGE", age)
    return text.replace("INTERVALS", intervals and f"intervals: {intervals}")


@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_a_quota_is_moved_online(make, kernel):
    desk = make(kernel)
    desk.apply(reclaim(TUNING))
    pid = desk.read(f"{KDAMONDS}/0/pid")
    since = len(desk.world.machine.log)
    desk.window(2)
    written = [(each.path.removeprefix(f"{KDAMONDS}/0/"), each.text)
               for each in desk.world.machine.log[since:]]  # fmt: skip
    assert [each for each in written if "update_" not in each[1]] == [
        ("contexts/0/schemes/0/quotas/bytes", str(225 << 19)),
        ("state", "commit"),
    ]
    desk.number.write_text("5000")
    for _ in range(40):
        desk.window(2)
    assert desk.read(BYTES) == str(1 << 20)
    assert desk.read(f"{KDAMONDS}/0/pid") == pid


def test_a_loop_settles_on_a_plant(desk):
    """What is measured is a tenth of the quota, one window late."""
    desk.apply(reclaim(TUNING.replace("target: 1000", "target: 4Mi").replace("4Mi", "4000000")))
    seen = []
    for _ in range(60):
        desk.number.write_text(str(int(desk.read(BYTES)) / 10))
        desk.window(2)
        seen.append(int(desk.read(BYTES)))
    late = seen[30:]
    assert all(abs(each - 40e6) <= 0.06 * 40e6 for each in late), late
    assert max(late) - min(late) <= 0.05 * 40e6


def test_a_commit_of_a_loop_waits_as_long_as_the_policy_says(desk):
    desk.apply(reclaim(TUNING).replace("ops: paddr", "ops: paddr\n    commit_every: 7s"))
    desk.world.machine.sleep(10)
    seen = []
    for _ in range(16):
        desk.window(1)
        seen.append(desk.read(BYTES))
    assert len(set(seen)) == 3, "one at once, one seven seconds later, one fourteen"


def test_a_scheme_is_a_source(desk):
    text = reclaim(TUNING.replace("{file: FILE}", "{scheme: k/cold, as: rate}"))
    desk.apply(text.replace("action: pageout", "action: stat"))
    desk.window(2)
    assert "two readings" in desk.trouble
    desk.window(2)
    assert desk.trouble == ""
    assert desk.read(BYTES) != str(100 << 20)


FED = "{metric: user_input, target: 1000, from: {file: FILE}}"


def goals(goal=FED, tuner="consist"):
    wanted = "" if tuner == "consist" else f"tuner: {tuner}"
    return toward_goals("goals", goal, more=wanted)


@pytest.mark.parametrize("tuner", ["consist", "temporal"])
@pytest.mark.parametrize("old", ["6.1", "6.6"])
def test_a_kernel_without_goals_gets_the_quotas_of_one_that_has_them(make, old, tuner):
    """The same numbers to both, a window at a time."""
    desk, inside = make(old), World.make("7.3")
    desk.apply(goals(tuner=tuner))
    assert desk.read(BYTES) == "1", "0 would be unlimited"
    inside.write(STAT_OFF, "N")
    text = goals(tuner=tuner).replace("FILE", "/none")
    inside.apply("goals", text=text)
    inside.machine.sleep(1)  # its first window, in which its goal counts as reached
    sizes = []
    for number in [200] * 35 + [900, 1_100, 1_500, 500, 2_500, 0, 0, 1_000]:
        desk.number.write_text(str(number))
        base = f"{KDAMONDS}/0/contexts/0/schemes/0/quotas"
        inside.write(f"{base}/goals/0/current_value", str(number))
        inside.write(f"{KDAMONDS}/0/state", "commit_schemes_quota_goals")
        desk.window(1)
        inside.machine.sleep(1)
        inside.write(f"{KDAMONDS}/0/state", "update_schemes_effective_quotas")
        sizes.append((int(desk.read(BYTES)), int(inside.machine.read(f"{base}/effective_bytes"))))
    inside.close()
    assert all(ours == max(theirs, 1) for ours, theirs in sizes), sizes
    assert {ours for ours, _ in sizes} >= {1, 100 << 20}


@pytest.mark.parametrize("metric", ["some_mem_psi_us, target: 500us",
                                    "node_mem_free_bp, node: 0, target: 99%",
                                    "inactive_mem_bp, target: 99%"])  # fmt: skip
def test_kernel_measured_goals_are_measured_here(make, metric):
    desk = make("6.6")
    desk.apply(goals(f"{{metric: {metric}}}"))
    for _ in range(5):
        desk.window(1)
    assert int(desk.read(BYTES)) > 1
    assert desk.trouble == ""


def test_without_commit_nothing_is_tuned_by_restarts(make):
    desk = make("5.18")
    desk.put("p.yaml", goals().replace("FILE", str(desk.number)))
    outcome = desk.rest()
    assert [each.code for each in outcome.diagnostics if each.severity == "error"] == ["DP0401"]


AUTO = "{sample: 100ms, aggregation: 2s, auto_tune: {observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}}"
AGE = f"{KDAMONDS}/0/contexts/0/schemes/0/access_pattern/age/min"
AGGREGATION = f"{KDAMONDS}/0/contexts/0/monitoring_attrs/intervals/aggr_us"


def test_ages_keep_their_time_while_the_kernel_tunes(desk):
    text = reclaim(age="2m", intervals=AUTO).replace("action: pageout", "action: stat")
    text = text.replace("quota:", "retune_age: true\n        quota:")
    desk.apply(text)
    assert desk.read(AGE) == "60"
    seen = set()
    for _ in range(40):
        desk.window(10)
        desk.world.machine.write(f"{KDAMONDS}/0/state", "update_tuned_intervals")
        seen.add(int(desk.read(AGGREGATION)))
    assert len(seen) > 1, "the kernel has tuned"
    desk.window(0)
    aggregation = int(desk.read(AGGREGATION))
    assert 120e6 <= int(desk.read(AGE)) * aggregation <= 120e6 * 1.1 + aggregation

    desk.world.machine.write(f"{KDAMONDS}/0/state", "off")
    desk.reloader.again()
    desk.rest()
    assert desk.read(AGE) == "60", "tuning begins anew"
