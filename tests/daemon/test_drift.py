"""Drift: reported once, and repaired only if the policy asks for it."""

from __future__ import annotations

import json

import pytest

from damonpolicy.base import log
from damonpolicy.cli.service import served
from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.plan.ir import CompiledPolicy
from tests.daemon.conftest import PAGES, RUN
from tests.world import fail_at

POLICY = """
version: 1
name: {name}
on_drift: {answer}
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes: [{{name: seen, action: stat}}]
settings:
  {setting}: {value}
"""
WATCH = """
version: 1
name: watch
on_drift: repair
kdamonds:
  - name: workers
    ops: vaddr
    targets: [{process: {name: worker}}]
    schemes: [{name: seen, action: stat}]
"""
SAMPLE = "0/contexts/0/monitoring_attrs/intervals/sample_us"


def policy(answer, name="p", setting=RUN, value=1):
    return POLICY.format(name=name, answer=answer, setting=setting, value=value)


@pytest.fixture
def told():
    """What is logged."""
    events = []
    log.set_sink(lambda level, event, values: events.append((level, event, values)))
    yield events
    log._sinks.clear()


@pytest.fixture
def watched(desk, told):
    desk.job = ObserveJob(desk.keeper, Repairer(desk.keeper))
    desk.told = told
    return desk


def put(desk, answer):
    desk.put("p.yaml", policy(answer))
    assert desk.rest().kind == "applied", desk.reloader.outcome
    assert look(desk).drift == ()
    desk.told.clear()


def look(desk):
    """Let the time until the next look pass, and look."""
    desk.world.machine.sleep(max(desk.job.due - desk.world.machine.monotonic(), 0) + 0.1)
    desk.job.run()
    return desk.job.last


def drift(desk):
    return [(each.path, each.committed, each.found) for each in look(desk).drift]


def events(desk, name):
    return [values for _, event, values in desk.told if event == name]


def test_what_is_staged_is_told_of_and_left(watched):
    put(watched, "report")
    watched.world.write(SAMPLE, "7000")
    since = len(watched.world.machine.log)

    assert drift(watched) == [(SAMPLE[2:], "5000", "7000")]
    assert events(watched, "drift") == [
        {"where": "p/k (slot 0)", "path": SAMPLE[2:], "committed": "5000", "found": "7000"}
    ]
    drift(watched)
    assert len(events(watched, "drift")) == 1, "once"
    watched.world.write(SAMPLE, "6000")
    drift(watched)
    assert [each["found"] for each in events(watched, "drift")] == ["7000", "6000"]
    watched.world.write(SAMPLE, "5000")
    assert drift(watched) == []
    assert events(watched, "drift has ended") == [{"files": 1}]
    assert watched.job.drifts == 2
    commands = {each.text for each in watched.world.machine.log[since:]} - {"6000", "5000"}
    assert commands == {"update_schemes_stats", "update_schemes_effective_quotas"}


def test_much_at_once_is_not_told_line_by_line(watched):
    put(watched, "report")
    watched.world.write("0/contexts/0/schemes/nr_schemes", "3")
    found = look(watched).drift

    assert len(found) > 50
    assert len(events(watched, "drift")) == 11
    assert events(watched, "drift")[-1] == {"more": len(found) - 10}
    assert watched.job.drifts == len(found)


def test_what_is_staged_is_brought_back(watched):
    put(watched, "repair")
    pid = watched.read(f"{KDAMONDS}/0/pid")
    watched.world.write(SAMPLE, "7000")
    watched.world.write("0/state", "commit")
    look(watched)

    assert watched.read(f"{KDAMONDS}/{SAMPLE}") == "5000"
    assert watched.world.machine._kdamonds.running("0")["sample"] == 5000, "committed, too"
    assert watched.read(f"{KDAMONDS}/0/pid") == pid
    assert events(watched, "repaired")[0]["policies"] == ["p"]
    assert watched.job.due <= watched.world.machine.monotonic(), "how it is then"
    assert look(watched).drift == ()
    assert watched.job.repairer.repairs == 1
    assert watched.world.managed.generation == 1, "a repair is no generation"


def test_a_kdamond_that_was_switched_off_is_started_again(watched):
    put(watched, "repair")
    watched.world.write("0/state", "off")
    look(watched)

    assert watched.read(f"{KDAMONDS}/0/state") == "on"
    assert look(watched).drift == ()


def test_switched_off_is_only_told_of_without_that_word(watched):
    put(watched, "report")
    watched.world.write("0/state", "off")

    assert drift(watched) == [("state", "on", "off")]
    assert watched.read(f"{KDAMONDS}/0/state") == "off"


def test_a_setting(watched):
    put(watched, "repair")
    watched.world.write(RUN, "0")
    look(watched)

    assert watched.read(RUN) == "1"
    assert look(watched).drift == ()
    original = watched.world.managed.settings[RUN].original
    assert original == "0", "what was there before us, not what someone wrote since"


def test_a_setting_is_only_told_of_without_that_word(watched):
    put(watched, "report")
    watched.world.write(RUN, "0")

    assert drift(watched) == [(RUN, "1", "0")]
    assert watched.read(RUN) == "0"


def test_the_module_that_lets_no_kdamond_start(watched):
    put(watched, "repair")
    watched.world.write("0/state", "off")
    watched.world.write("/sys/module/damon_stat/parameters/enabled", "Y")
    look(watched)
    assert watched.job.repairer.trouble, "it is someone else's, and is told of"
    assert watched.read("/sys/module/damon_stat/parameters/enabled") == "Y"
    watched.world.write("/sys/module/damon_stat/parameters/enabled", "N")
    for _ in range(5):
        look(watched)

    assert watched.read(f"{KDAMONDS}/0/state") == "on"
    assert watched.job.repairer.trouble == ""


def test_one_that_is_someone_elses_now_is_left_to_them(watched):
    """Switched off and on again by someone, with other bytes or ours: it has another pid."""
    put(watched, "repair")
    before = watched.world.managed
    watched.world.write("0/state", "off")
    watched.world.write(SAMPLE, "7000")
    watched.world.write("0/state", "on")
    watched.world.write(RUN, "0")
    since = len(watched.world.machine.log)
    found = {path for path, _, _ in drift(watched)}

    assert found == {"pid", SAMPLE[2:], RUN}
    assert len(watched.world.machine.log) == since, "not even asked"
    assert watched.world.managed == before
    assert watched.job.repairer.repairs == 0


def test_one_that_was_configured_anew_is_left_to_them(watched):
    put(watched, "repair")
    watched.world.write("0/state", "off")
    watched.world.write(SAMPLE, "7000")
    since = len(watched.world.machine.log)
    drift(watched)

    assert len(watched.world.machine.log) == since


def test_one_that_was_wiped_is_started_in_what_is_free(watched):
    put(watched, "repair")
    watched.world.write("0/state", "off")
    watched.world.write("nr_kdamonds", "0")
    look(watched)

    assert look(watched).drift == ()
    assert watched.world.managed.slots[0].kdamond == "p/k"
    assert watched.read(f"{KDAMONDS}/0/state") == "on"


def test_other_policies_are_left_as_someone_made_them(watched):
    """One asks for repair, the other does not: neither its kdamond nor its setting is touched."""
    watched.put("q.yaml", policy("report", "q", PAGES, 300))
    put(watched, "repair")
    other = watched.world.managed.slot_of("q/k")
    mine = watched.world.managed.slot_of("p/k")
    watched.world.write(RUN, "0")
    watched.world.write(PAGES, "5")
    watched.world.write(f"{other}{SAMPLE[1:]}", "7000")
    watched.world.write(f"{mine}{SAMPLE[1:]}", "8000")
    look(watched)
    left = {path for path, _, _ in drift(watched)}

    assert left == {SAMPLE[2:], PAGES}
    assert (watched.read(RUN), watched.read(PAGES)) == ("1", "5")
    assert watched.world.managed.settings[PAGES].written == "300", "it is still drift"
    watched.world.remove("q")
    assert watched.read(PAGES) == "5", "and is not put back over what someone wrote"


def test_policies_applied_by_hand_are_left_to_hands(watched):
    watched.world.apply("p", text=policy("repair"))
    assert watched.world.managed.policies["p"].repairs
    watched.world.write(SAMPLE, "7000")

    assert drift(watched) == [(SAMPLE[2:], "5000", "7000")]
    assert watched.job.repairer.repairs == 0


def test_nothing_is_repaired_while_a_change_waits_for_its_confirmation(watched):
    put(watched, "repair")
    watched.world.apply("q", text=policy("report", "q", PAGES, 300), confirm_within=600)
    watched.world.write(SAMPLE, "7000")
    look(watched)
    assert "waits to be confirmed" in watched.job.repairer.trouble
    assert watched.read(f"{KDAMONDS}/{SAMPLE}") == "7000"
    watched.world.machine.sleep(600)
    for _ in range(6):
        look(watched)

    assert watched.read(f"{KDAMONDS}/{SAMPLE}") == "5000"
    assert "q" not in watched.world.managed.policies


def test_a_repair_that_fails_leaves_all_as_it_was(watched):
    put(watched, "repair")
    watched.world.write(SAMPLE, "7000")
    watched.world.write(RUN, "0")
    watched.world.machine.sleep(20)
    before = watched.world.look()
    fail_at(watched.world.machine, 4)
    watched.job.run()
    watched.world.machine.before_write = None

    assert watched.world.look() == before
    assert "everything is as it was" in watched.job.repairer.trouble
    assert watched.keeper.rollbacks == 1
    assert len(events(watched, "repair")) == 1
    look(watched)
    assert watched.world.look()[RUN] == before[RUN], "not again at once"
    for _ in range(5):
        look(watched)
    assert watched.read(RUN) == "1"
    assert watched.job.repairer.trouble == ""


def test_who_changes_it_each_time_is_not_outrun(watched):
    """One repair each 30 seconds, however often somebody changes it."""
    put(watched, "repair")
    machine = watched.world.machine
    begin = machine.monotonic()
    while machine.monotonic() < begin + 300:
        watched.world.write(SAMPLE, "7000")
        watched.job.due = 0.0
        watched.job.run()
        machine.sleep(1)

    assert 9 <= watched.job.repairer.repairs <= 11


def test_one_whose_last_process_has_ended_is_no_drift(watched):
    machine = watched.world.machine
    worker = machine.start_process("worker", areas=[{"size": "4MiB"}])
    watched.put("w.yaml", WATCH)
    assert watched.rest().kind == "applied"
    machine.exit_process(worker)
    machine.sleep(5)
    assert watched.read(f"{KDAMONDS}/0/state") == "off"

    assert drift(watched) == []
    assert watched.job.repairer.repairs == 0


def test_one_that_somebody_ended_under_its_processes_is(watched):
    machine = watched.world.machine
    machine.start_process("worker", areas=[{"size": "4MiB"}])
    watched.put("w.yaml", WATCH)
    assert watched.rest().kind == "applied"
    watched.world.write("0/state", "off")
    look(watched)

    assert watched.read(f"{KDAMONDS}/0/state") == "on"


def test_the_record_says_it(watched):
    put(watched, "report")
    follower = Follower(watched.keeper)
    feed = FeedJob(watched.keeper)
    record = RecordJob(watched.reloader, follower, feed, TuneJob(watched.keeper), watched.job)
    watched.world.write("0/contexts/0/schemes/nr_schemes", "3")
    look(watched)
    record.run()
    said = json.loads(watched.world.places.service.read_text())["drift"]

    assert said["files"] == len(watched.job.last.drift)
    assert len(said["first"]) == 5
    assert said["first"][0]["where"] == "p/k (slot 0)"
    assert (said["repairs"], said["cannot_repair"]) == (0, "")
    shown = served(watched.world.machine, watched.world.places)
    assert (shown or {})["drift"] == said, "commands can read what the service wrote"


def test_what_was_kept_before_there_was_the_word_is_only_told_of(watched):
    put(watched, "repair")
    data = watched.world.managed.policies["p"].to_json()
    assert CompiledPolicy.from_json(data).repairs
    del data["repairs"]

    assert not CompiledPolicy.from_json(data).repairs
