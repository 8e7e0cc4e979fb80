"""The current machine, and reasons why it may not be read."""

from __future__ import annotations

import errno
import os

import pytest

from damonpolicy.base.errors import Foreign, KernelLacks, NoPermission
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.spec import DEFAULT
from damonpolicy.kernel.system.machine import ADMIN, KDAMONDS
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.plan.state import Managed
from tests.world import STAT_OFF, World


class Spoilt:
    """A machine where some paths fail."""

    def __init__(self, errors):
        self.machine = EmulatedMachine.create("7.3")
        self.errors = errors

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def _fail(self, path):
        for prefix, code in self.errors.items():
            if path.startswith(prefix):
                raise OSError(code, os.strerror(code), path)

    def read(self, path):
        self._fail(path)
        return self.machine.read(path)

    def scan(self, path):
        self._fail(path)
        return self.machine.scan(path)

    def exists(self, path):
        return self.errors.get(path) != errno.ENOENT and self.machine.exists(path)


def test_modules_and_settings_are_seen():
    current = retrieve(EmulatedMachine.create("7.3"), ["/proc/sys/vm/swappiness", "/sys/none"])

    assert current.modules == ("damon_stat",)
    assert current.settings == {"/proc/sys/vm/swappiness": "60", "/sys/none": None}
    assert (current.slots, current.machine) == ([], "emulated:7.3")


def test_a_kernel_without_damon():
    with pytest.raises(KernelLacks) as caught:
        retrieve(Spoilt({ADMIN: errno.ENOENT, KDAMONDS: errno.ENOENT}))
    assert "emulated:7.3" in caught.value.hint


def test_a_directory_that_vanishes_meanwhile():
    with pytest.raises(Foreign, match="vanished while it was read"):
        retrieve(Spoilt({KDAMONDS: errno.ENOENT}))


def test_an_ordinary_user():
    with pytest.raises(NoPermission, match="DAMON's files may be read by root only"):
        retrieve(EmulatedMachine.create("7.3", spec={**DEFAULT, "root": False}))


def test_a_setting_that_may_not_be_read():
    path = "/proc/sys/vm/swappiness"
    with pytest.raises(NoPermission, match=f"`{path}` may not be read"):
        retrieve(Spoilt({path: errno.EACCES}), [path])


@pytest.fixture
def world():
    made = World.make("7.3")
    yield made
    made.close()


def owners(world, managed=None):
    current = retrieve(world.machine)
    return [current.owner(slot, managed or world.managed) for slot in current.slots]


def test_slots_have_owners(world):
    world.write(STAT_OFF, "N")
    world.foreign(on=True, slots=3, slot=1)
    world.apply("monitor")

    assert owners(world) == ["ours", "foreign", "free"]
    assert owners(world, Managed("another boot")) == ["foreign", "foreign", "free"]


def test_ours_that_is_off_is_ours_by_its_bytes(world):
    world.apply("monitor", {"program": "nginx"})
    world.write("0/state", "off")
    assert owners(world)[0] == "ours"

    world.write("0/contexts/0/monitoring_attrs/nr_regions/max", "77")
    assert owners(world)[0] == "foreign"


class Ending:
    """A machine whose kdamond ends once its directory has been read, before its thread is looked at."""

    def __init__(self, machine, process):
        self.machine, self.process = machine, process

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def read(self, path):
        if path.startswith("/proc/") and path.endswith("/stat") and self.process:
            self.machine.exit_process(self.process)
            self.process = 0
            self.machine.sleep(1)
        return self.machine.read(path)


def test_ours_that_ends_meanwhile_is_ours(world):
    """It was on, and its thread was gone: that is nobody else's kdamond."""
    pid = world.machine.start_process("worker")
    world.apply("monitor", {"program": "worker"})
    current = retrieve(Ending(world.machine, pid))

    assert not current.running(0)
    assert current.owner(0, world.managed) == "ours"


def test_ours_that_someone_restarted_is_theirs(world):
    world.apply("monitor", {"program": "nginx"})
    world.write("0/state", "off")
    world.write("0/state", "on")

    assert owners(world)[0] == "foreign"


def test_ours_that_someone_wiped_is_free(world):
    world.apply("monitor", {"program": "nginx"})
    world.write("0/state", "off")
    world.write("nr_kdamonds", "2")

    assert owners(world) == ["free", "free"]
