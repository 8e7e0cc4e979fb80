"""Transactions on a kernel that accepts everything and does something else."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

import pytest

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError, ExitCode, Foreign, NoPermission
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import verification
from damonpolicy.engine.store import Store
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.engine.site import Site, shipped
from tests.world import APPLIES, KERNELS, STAT_OFF, World, fail_at

BYTES = "0/contexts/0/schemes/0/quotas/bytes"


@pytest.fixture
def world():
    made = World.make("7.3")
    yield made
    made.close()


def fails(world, *arguments):
    """An apply that has to fail and to leave everything as it was; returns the error."""
    before, managed = world.look(), world.managed
    with pytest.raises(DamonPolicyError) as caught:
        world.apply(*arguments)
    world.machine.before_write = world.machine.after_write = None
    assert before == world.look()
    assert managed == world.managed
    assert not world.places.journal.exists()
    assert not world.machine.poisoned
    return caught.value


def refuse(world, code, wanted):
    """Refuse the first write that is wanted, with an errno."""
    left = [1]

    def hook(_, path, text):
        if left and wanted(path, text):
            left.clear()
            raise OSError(code, os.strerror(code), path)

    world.machine.before_write = hook


def test_a_value_that_reads_back_otherwise(world):
    """A kernel that rounds, or another writer at the same moment."""

    def change(_, path, text):
        if path.endswith(BYTES) and text == str(128 << 20):
            world.machine.after_write = None
            world.write(BYTES, "4096")

    world.machine.after_write = change
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("proactive-reclaim")

    assert caught.value.exit_code == ExitCode.ROLLBACK_INCOMPLETE, "the byte is someone else's"
    assert f"`{BYTES}` reads `4096` and not `{128 << 20}`" in caught.value.message
    assert world.machine.read(f"{KDAMONDS}/{BYTES}") == "4096\n"


def test_two_files_that_differ(world, monkeypatch):
    """The message names one and counts the others."""
    real = verification.snapshot

    def other(machine, **options):
        return {
            path: "99" if path.startswith("0/") and path.endswith(("/min", "/max")) else value
            for path, value in real(machine, **options).items()
        }

    monkeypatch.setattr(verification, "snapshot", other)
    error = fails(world, "ksm")

    assert error.exit_code == ExitCode.ROLLED_BACK
    assert "reads `99` and not" in error.message
    assert "more files differ)" in error.message


def test_a_kdamond_that_dies_at_once(world):
    def die(_, path, text):
        if text == "on":
            world.machine.after_write = None
            world.write("0/state", "off")

    world.machine.after_write = die
    error = fails(world, "ksm")

    assert error.exit_code == ExitCode.ROLLED_BACK
    assert "the kernel took it, but the kdamond is dead" in error.message


def test_a_kdamond_that_dies_before_the_end(world, monkeypatch):
    """It answered, and is off when everything is read back."""
    real = verification.snapshot

    def off(machine, **options):
        return {**real(machine, **options), "0/state": "off"}

    monkeypatch.setattr(verification, "snapshot", off)
    error = fails(world, "ksm")

    assert "the kdamond `ksm/vms` is off after all" in error.message


def test_another_kdamond_after_a_commit(world):
    world.apply("proactive-reclaim")

    def restart(_, path, text):
        if text == "commit":
            world.machine.after_write = None
            world.write("0/state", "off")
            world.write("0/state", "on")

    world.machine.after_write = restart
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("proactive-reclaim", {"most": "64MiB"})

    assert "another kdamond runs in this slot now" in caught.value.message


def test_a_rival_that_starts_in_the_last_moment(world):
    """EBUSY of `on` means another user of DAMON, and `doctor` knows which."""
    refuse(world, errno.EBUSY, lambda path, text: text == "on")
    error = fails(world, "ksm")

    assert isinstance(error, Foreign)
    assert error.hint == "`damonpolicy doctor` shows what else uses DAMON"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
def test_no_permission_half_way(world, code):
    refuse(world, code, lambda path, text: text == "on")
    error = fails(world, "ksm")

    assert isinstance(error, NoPermission)
    assert "everything is as it was" in error.message


def test_a_defect_half_way_is_undone_and_told(world):
    """Whatever is raised, the machine goes back first."""
    before = world.look()

    def broken(_, path, text):
        if text == "on":
            world.machine.before_write = None
            raise ZeroDivisionError

    world.machine.before_write = broken
    with pytest.raises(ZeroDivisionError):
        world.apply("ksm")

    assert before == world.look()
    assert not world.places.journal.exists()
    assert not list(world.places.generations.iterdir())


def test_a_journal_that_cannot_be_written_changes_nothing(world):
    world.places.journal.mkdir(parents=True)
    (world.places.journal / "x").touch()
    with pytest.raises(DamonPolicyError, match="journal` is not a regular file"):
        world.apply("ksm")
    assert not world.machine.log


def test_a_full_disk_before_the_first_write(world, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "reserve", lambda self, managed: None)
    monkeypatch.setattr(os, "posix_fallocate", full)
    error = fails(world, "ksm")

    assert error.exit_code == ExitCode.FAILED
    assert "cannot write the journal" in error.message
    assert "no space left on device" in error.message
    assert not world.machine.log


def test_a_signal_at_the_commit_point_comes_too_late(world, monkeypatch):
    """Once the state says so it is done: nothing is undone behind its back."""
    save = Store.save

    def signalled(self, managed):
        save(self, managed)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Store, "save", signalled)
    world.apply("ksm")

    assert list(world.managed.policies) == ["ksm"]
    assert world.machine.read(f"{KDAMONDS}/0/state") == "on\n"
    assert not world.places.journal.exists()


def test_a_process_that_ends_during_the_undo_is_not_put_back(world):
    """It cannot be undone: that is reported, and the rest is put back."""
    pids = [world.machine.start_process("worker", areas=[{"size": "4MiB"}]) for _ in range(2)]
    world.apply("monitor", {"program": "worker"})
    start = world.managed.slots[0].pid

    def fail(_, path, text):
        if text == "update_schemes_stats":
            world.machine.before_write = None
            world.machine.exit_process(pids[1])
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    world.machine.before_write = fail
    with pytest.raises(DamonPolicyError) as caught:
        world.apply("monitor", {"program": "nginx"})

    assert caught.value.exit_code == ExitCode.ROLLED_BACK
    assert "slot 0: processes that ended are not put back" in caught.value.message
    assert world.machine.read(f"{KDAMONDS}/0/pid") == f"{start}\n"
    targets = world.machine.running(0)["targets"]
    assert [each["pid_target"] for each in targets.values() if hasattr(each, "items")] == [
        str(pids[0])
    ]


class TestTried:
    """Without type information only an attempt shows what a kernel can do."""

    POLICY = """\
version: 1
name: tried
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: first
        action: stat
      - name: second
        {optional}action: stat
        filters: [{{reject: {{hugepage_size: {{min: 2MiB, max: 2MiB}}}}}}]
settings: {{/sys/module/damon_stat/parameters/enabled: N}}
"""

    @pytest.fixture
    def blind(self, monkeypatch):
        """6.12 without BTF, before any directory of a scheme was made."""
        real = EmulatedMachine.read_bytes

        def read_bytes(self, path):
            if path.startswith("/sys/kernel/btf"):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            return real(self, path)

        monkeypatch.setattr(EmulatedMachine, "read_bytes", read_bytes)
        made = Site("6.12")
        yield made
        made.close()

    def test_a_refusal_is_undone_and_named(self, blind):
        before = blind.world.look()
        assert detect(blind.machine, snapshot(blind.machine)).known("filter.sizes") == "unknown"
        policy = blind.policy("tried", self.POLICY.format(optional=""))
        outcome = blind.run("apply", policy)

        assert outcome.code == ExitCode.UNSUPPORTED, outcome.err
        assert "Linux 6.14 has it" in outcome.err, "what was staged showed that too"
        assert blind.writes(), "it was tried"
        assert blind.world.look() == before
        assert blind.json("history")["data"]["generations"] == []

    def test_what_is_optional_is_left_out_then(self, blind):
        policy = blind.policy("tried", self.POLICY.format(optional="optional: true\n        "))
        outcome = blind.done("apply", policy)

        assert "second" in outcome.err
        assert "is left out" in outcome.err
        schemes = blind.json("status")["data"]["kdamonds"][0]["schemes"]
        assert [each["name"] for each in schemes] == ["first"]

    def test_where_it_is_there_nothing_is_left_out(self, blind):
        del blind
        site = Site("7.3")
        site.done("apply", site.policy("tried", self.POLICY.format(optional="")))
        schemes = site.json("status")["data"]["kdamonds"][0]["schemes"]
        site.close()

        assert [each["name"] for each in schemes] == ["first", "second"]

    @pytest.mark.parametrize(
        ("kernel", "name"),
        [(kernel, name) for kernel in KERNELS for name in APPLIES[kernel]],
    )
    def test_every_shipped_policy_ends_as_where_all_is_known(self, monkeypatch, kernel, name):
        sighted = World.make(kernel)
        sighted.apply(name)

        def none(self, path):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

        monkeypatch.setattr(EmulatedMachine, "read_bytes", none)
        site = Site(kernel)
        site.done("apply", shipped(name))
        ours, theirs = (
            {path: value for path, value in world.look().items() if not path.endswith("pid")}
            for world in (site.world, sighted)
        )
        site.close()
        sighted.close()

        assert ours == theirs


def test_a_shipped_policy_on_a_kernel_that_tells_nothing(monkeypatch):
    """memory-tiering needs what 6.12 lacks; without BTF only trying tells."""

    def none(self, path):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    monkeypatch.setattr(EmulatedMachine, "read_bytes", none)
    site = Site("6.12")
    before = site.world.look()
    outcome = site.run("apply", shipped("memory-tiering"))

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "has it" in outcome.err
    assert site.world.look() == before
    site.close()


@pytest.mark.parametrize("fails", [False, True])
def test_each_begin_in_the_log_has_an_end(fails):
    events = []
    world = World.make("7.3")
    world.write(STAT_OFF, "N")
    log.set_sink(lambda level, event, values: events.append((event, values.get("generation"))))
    try:
        if fails:
            fail_at(world.machine, 2)
        with suppress(DamonPolicyError):
            world.apply("monitor")
    finally:
        log._sinks.clear()
        world.close()

    assert ("begin", 1) in events
    assert (("not applied" if fails else "applied"), 1) in events
