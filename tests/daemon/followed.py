"""A following service, and the processes that its kdamonds really monitor."""

from __future__ import annotations

from damonpolicy.daemon.jobs.follow import Follower
from damonpolicy.kernel.system.machine import KDAMONDS
from tests import policies
from tests.daemon.conftest import Desk
from tests.world import STAT_OFF, World

WATCH = policies.WATCH
AREA = {"size": "4MiB"}
KERNELS = ("6.6", "6.12", "6.18", "6.19", "7.3")


def following(kernel, directory):
    """Yield a desk whose service follows what comes and goes; for a fixture."""
    world = World.make(kernel)
    if world.machine.exists(STAT_OFF):
        world.write(STAT_OFF, "N")
    made = Desk(world, directory)
    made.follower = Follower(made.keeper)
    yield made
    assert not world.machine.poisoned
    world.close()


def follow(desk):
    desk.world.machine.sleep(1)
    desk.keeper.table.update()
    return desk.follower.look(everything=True)


def watched(desk, slot=0):
    """The processes that the running kdamond really monitors."""
    running = desk.world.machine._kdamonds.running(str(slot))
    return {int(each["pid"]) for each in running["targets"]} if running else set()


def kdamond(desk, slot=0):
    return desk.read(f"{KDAMONDS}/{slot}/pid")
