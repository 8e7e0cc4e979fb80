"""Slots: ours, free, and everything else, which is left as it is."""

from __future__ import annotations

import fcntl
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import lock
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.engine.site import Site, shipped

STAT = "/sys/module/damon_stat/parameters/enabled"
MANY = """\
version: 1
name: {name}
kdamonds:
  - name: "k-{{{{ n }}}}"
    for_each: {{n: [{numbers}]}}
    ops: vaddr
    targets: [{{process: {{name: nginx}}}}]
settings: {{{stat}: N}}
"""
WAITING = """\
version: 1
name: waiting
kdamonds:
  - name: k
    ops: vaddr
    when_absent: wait
    targets: [{process: {name: worker}}]
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""


def many(site, name, count):
    numbers = ", ".join(str(each) for each in range(count))
    return site.policy(name, MANY.format(name=name, numbers=numbers, stat=STAT))


def theirs(site, slot=0):
    """Everything of a slot, which is not to change."""
    return {p: v for p, v in site.world.look().items() if p.startswith(f"{slot}/")}


@pytest.mark.parametrize("on", [True, False])
def test_a_kdamond_of_someone_else_is_left_alone(site, on):
    site.world.foreign(on=on)
    before = theirs(site)
    site.done("apply", shipped("ksm"))
    assert list(site.world.managed.slots) == [1]
    site.done("apply", shipped("ksm"), "--set", "cold_for=5m")
    site.done("rollback", "1")
    site.done("remove", "ksm")
    site.done("apply", shipped("ksm"))
    site.done("stop", "--all")

    assert theirs(site) == before
    assert site.read(f"{KDAMONDS}/nr_kdamonds") == "8"


@pytest.mark.parametrize(
    ("on", "said", "hint"),
    [
        (True, "slot 0 runs a kdamond of someone else (pid ", "stop it, or take it over"),
        (False, "slot 0 is configured by someone else, though it is off", "wipe it"),
    ],
)
def test_without_a_free_slot_it_is_named(site, on, said, hint):
    site.world.foreign(on=on, slots=1)
    before = site.world.look()
    outcome = site.run("apply", shipped("ksm"))

    assert outcome.code == ExitCode.FOREIGN
    assert f"there is no free slot for `ksm/vms`: {said}" in outcome.err
    assert f"hint: {hint}" in outcome.err
    assert site.world.look() == before


@pytest.mark.parametrize("on", [True, False])
def test_it_is_taken_over_on_demand_only(site, on):
    site.world.foreign(on=on, slots=1)
    planned = site.run("plan", shipped("ksm"), "--takeover")
    assert "taken over from someone else" in planned.out
    outcome = site.done("apply", shipped("ksm"), "--takeover")

    assert "taken over from someone else" in outcome.out
    assert list(site.world.managed.slots) == [0]
    assert site.done("diff").out.endswith("No drift.\n")
    site.done("remove", "ksm")
    assert site.read(f"{KDAMONDS}/0/state") == "off"


def test_a_failed_takeover_gives_it_back(site, monkeypatch):
    site.world.foreign(on=True, slots=1)
    before = site.world.look()
    commands = []

    def fail(number, path, text):
        if path.endswith("/state"):
            commands.append(text)
            if commands == ["off", "on"]:
                raise OSError(5, "Input/output error")

    monkeypatch.setattr(
        EmulatedMachine,
        "before_write",
        property(lambda self: fail, lambda self, hook: None),
        raising=False,
    )
    outcome = site.run("apply", shipped("ksm"), "--takeover")

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "the kdamond of slot 0 was started again: its results are lost" in outcome.err
    assert site.world.look() == before


def test_more_than_eight(site):
    site.done("apply", many(site, "many", 10))

    assert len(site.world.managed.slots) == 10
    assert site.read(f"{KDAMONDS}/nr_kdamonds") == "10"
    assert len({site.machine.running(slot) is not None for slot in range(10)}) == 1
    assert site.done("diff").out.endswith("No drift.\n")
    site.done("apply", many(site, "many", 3))
    assert len(site.world.managed.slots) == 3
    site.done("remove", "many")
    assert site.read(f"{KDAMONDS}/nr_kdamonds") == "0"


def test_all_slots_are_ours(site):
    site.done("apply", many(site, "many", 8))
    before = site.world.look()
    outcome = site.run("apply", shipped("ksm"))

    assert outcome.code == ExitCode.FOREIGN
    assert "there is no free slot for `ksm/vms`: kdamonds of ours take all 8\n" in outcome.err
    assert site.world.look() == before
    assert "no slot is free" in site.run("doctor").out


@pytest.mark.parametrize("running", [1, 8])
@pytest.mark.parametrize("ends", [("stop", "--all"), ("remove", "first")], ids=["stop", "remove"])
def test_what_the_hint_says_makes_room_for_a_ninth_kdamond(site, running, ends):
    first, other = many(site, "first", running), many(site, "other", 9 - running)
    site.done("apply", first)
    before = site.world.look()
    outcome = site.run("apply", other)

    assert outcome.code == ExitCode.FOREIGN
    assert f"slot for `other/k-{8 - running}`: kdamonds of ours take all 8\n" in outcome.err
    assert (
        "hint: the number of slots can change only while no kdamond runs: `damonpolicy stop --all`,"
        " then apply all policies in one call, or `damonpolicy remove NAME` ends one\n"
    ) in outcome.err
    assert site.world.look() == before
    site.done(*ends)
    site.done("apply", *[first] * (ends[0] == "stop"), other)
    assert len(site.world.managed.slots) == (9 if ends[0] == "stop" else 9 - running)


@pytest.mark.parametrize("refreshed", [False, True])
def test_what_the_hint_says_wipes_a_slot_beside_kdamonds_that_run(site, refreshed):
    site.world.foreign(on=False, slots=2)
    if refreshed:
        site.world.write("0/refresh_ms", "100")
    site.done("apply", shipped("monitor"))
    hint = site.run("apply", shipped("ksm")).err.partition("hint: ")[2]

    commands = re.findall(r"`echo (\S+) > (\S+)`", hint)
    assert len(commands) == 1 + refreshed
    for value, path in commands:
        site.machine.write(path, value)
    site.done("apply", shipped("ksm"))
    placed = {slot: each.kdamond for slot, each in site.world.managed.slots.items()}
    assert placed == {0: "ksm/vms", 1: "monitor/program"}


def test_a_replacement_takes_the_place_of_what_it_ends(site):
    site.done("apply", many(site, "many", 8))
    outcome = site.done("apply", shipped("ksm"), "--prune")

    assert "takes the place of `many/k-0`, which ends" in outcome.out
    assert [each.kdamond for each in site.world.managed.slots.values()] == ["ksm/vms"]


def test_what_already_runs_as_wanted_is_adopted_without_a_write(site):
    """The state was lost; the kdamond is somebody's, and equal."""
    site.done("apply", shipped("monitor"))
    pids = [each.pid for each in site.world.managed.slots.values()]
    site.places.state.unlink()
    assert site.json("status")["data"]["kdamonds"][0]["owner"] == "foreign"
    before = len(site.machine.log)
    outcome = site.done("apply", shipped("monitor"))

    assert "adopted without a write" in outcome.out
    assert len(site.machine.log) == before
    assert [each.pid for each in site.world.managed.slots.values()] == pids
    assert site.json("status")["data"]["kdamonds"][0]["owner"] == "ours"
    assert "No changes." in site.done("apply", shipped("monitor")).out


def test_what_someone_restarted_is_theirs(site):
    site.done("apply", shipped("monitor"))
    site.world.write("0/state", "off")
    site.world.write("0/state", "on")
    site.world.write("0/contexts/0/monitoring_attrs/intervals/sample_us", "6000")
    before = theirs(site)
    assert site.json("status")["data"]["kdamonds"][0]["owner"] == "foreign"
    outcome = site.done("apply", shipped("monitor"))

    assert (
        "slot 0 of `monitor/program` was changed by someone else: it is theirs now" in outcome.out
    )
    assert theirs(site) == before
    assert list(site.world.managed.slots) == [1]


def test_what_was_only_stopped_is_still_ours_and_starts_again(site):
    site.done("apply", shipped("monitor"))
    site.world.write("0/state", "off")
    assert "monitor/program (slot 0)" in site.run("diff").out
    site.done("apply", shipped("monitor"))

    assert list(site.world.managed.slots) == [0]
    assert site.done("diff").out.endswith("No drift.\n")


class TestWaiting:
    def test_for_a_process(self, site):
        policy = site.policy("waiting", WAITING)
        outcome = site.done("apply", policy)
        assert site.json("status")["data"]["waiting"] == ["waiting/k"]
        assert "kdamond waiting/k: waits for a process" in site.done("status").out
        assert "waits" in outcome.out
        assert "No changes." in site.done("apply", policy).out
        pid = site.machine.start_process("worker", areas=[{"size": "4MiB"}])
        site.done("apply", policy)

        assert site.json("status")["data"]["waiting"] == []
        assert site.json("status")["data"]["kdamonds"][0]["targets"][0]["pid"] == pid

    def test_again_when_the_last_one_ends(self, site):
        policy = site.policy("waiting", WAITING)
        before = site.world.look()
        pid = site.machine.start_process("worker", areas=[{"size": "4MiB"}])
        site.done("apply", policy)
        site.machine.exit_process(pid)
        assert "state: committed `on`, found `off`" in site.run("diff").out
        assert "has ended (slot 0)" in site.run("doctor").out
        site.done("apply", policy)
        assert site.json("status")["data"]["waiting"] == ["waiting/k"]
        assert site.done("diff").out.endswith("No drift.\n")
        site.done("remove", "waiting")

        assert site.world.look() == before


class TestOwnership:
    @pytest.fixture
    def owned(self, site):
        """`a` belongs to a service, `b` was applied by hand."""
        site.done("apply", site.setting("a", 1))
        site.done("apply", site.setting("b", 1))
        managed = site.world.managed
        policies = dict(managed.policies)
        policies["a"] = replace(policies["a"], owner="service:/etc/damonpolicy")
        Store(site.places).save(replace(managed, policies=policies))
        return site

    def test_a_services_policy_is_not_removed_by_hand(self, owned):
        outcome = owned.run("remove", "a")

        assert outcome.code == ExitCode.USAGE
        assert "the policy `a` belongs to service:/etc/damonpolicy" in outcome.err
        assert "hint: remove its file there" in outcome.err
        assert owned.json("status")["data"]["policies"] == {
            "a": "service:/etc/damonpolicy",
            "b": "hand",
        }

    def test_pruning_by_hand_leaves_it(self, owned):
        owned.done("apply", owned.setting("c", 1), "--prune")
        assert sorted(owned.world.managed.policies) == ["a", "c"]
        planned = owned.run("plan", owned.setting("d", 1), "--prune", "--format", "json").json
        assert planned["changed"] is True
        assert sorted(owned.world.managed.policies) == ["a", "c"]

    def test_stopping_all_is_all(self, owned):
        owned.done("stop", "--all")
        assert owned.world.managed.policies == {}

    def test_a_policy_that_is_not_applied(self, owned):
        outcome = owned.done("remove", "bb")

        assert "No changes." in outcome.out
        assert "no policy `bb` is applied" in outcome.err
        assert "did you mean `b`" in outcome.err
        owned.done("stop", "--all")
        assert "hint: `damonpolicy status` lists" in owned.done("remove", "b").err


class TestNamespaces:
    @pytest.fixture
    def contained(self, site, monkeypatch):
        real = EmulatedMachine.resolve

        def resolve(self, path):
            return "/proc/9/ns/pid:[4026532999]" if path.endswith("/ns/pid") else real(self, path)

        monkeypatch.setattr(EmulatedMachine, "resolve", resolve)
        return site

    @pytest.mark.parametrize("words", [("apply", shipped("ksm")), ("recover",), ("stop", "--all")])
    def test_nothing_is_changed_from_within(self, contained, words):
        outcome = contained.run(*words)

        assert outcome.code == ExitCode.NO_PERMISSION
        assert "not the machine's own pid namespace" in outcome.err
        assert "hint: run on the host: `nsenter --target 1 --all damonpolicy" in outcome.err
        assert contained.writes() == []

    def test_looking_is_possible(self, contained):
        contained.done("status")
        assert contained.run("plan", shipped("ksm")).code == ExitCode.CHANGES
        examined = contained.run("doctor")
        assert examined.code == ExitCode.FAILED
        assert "not the machine's own pid namespace" in examined.out


class TestLock:
    def test_without_waiting_the_holder_is_named(self, site):
        with lock.exclusive(site.places.lock, wait=False):
            holder = site.places.lock.read_text().strip()
            outcome = site.run("apply", shipped("ksm"))
            looked = site.run("status")

        assert outcome.code == ExitCode.LOCKED
        assert f"another damonpolicy (pid {holder}) is changing this machine" in outcome.err
        assert "hint: wait for it with `--wait`" in outcome.err
        assert site.writes() == []
        assert looked.code == 0

    @pytest.mark.parametrize(
        "words",
        [("apply", shipped("ksm")), ("remove", "ksm"), ("rollback", "0"), ("recover",),
         ("confirm",), ("stop", "--all")],
    )  # fmt: skip
    def test_waiting_lasts_until_it_is_let_go(self, site, monkeypatch, words):
        """The wait itself lets the holder go: no other clock is needed."""
        held = lock.exclusive(site.places.lock, wait=False)
        held.__enter__()
        waits = []

        def let_go(descriptor, how):
            waits.append(how)
            held.__exit__(None, None, None)
            fcntl.flock(descriptor, how)

        ours = SimpleNamespace(LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB, flock=let_go)
        monkeypatch.setattr(lock, "fcntl", ours)
        outcome = site.run(*words, "--wait")

        assert outcome.code != ExitCode.LOCKED
        assert waits == [fcntl.LOCK_EX], "it blocks"

    def test_it_ends_with_its_holder(self, site):
        with pytest.raises(ZeroDivisionError), lock.exclusive(site.places.lock, wait=False):
            _ = 1 / 0
        site.done("recover")


def test_old_kernels_too():
    """6.12 stops the kdamond when a target is dead; all the same here."""
    site = Site("6.12")
    site.world.foreign(on=True)
    before = theirs(site)
    site.done("apply", shipped("monitor"))
    site.done("stop", "--all")

    assert theirs(site) == before
    site.close()
