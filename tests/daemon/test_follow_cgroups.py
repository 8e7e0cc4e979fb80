"""Cgroups that come and go, and processes that move between them."""

from __future__ import annotations

import pytest

from damonpolicy.daemon.jobs.follow import FollowJob
from damonpolicy.daemon.scheduler import beat
from tests.daemon.followed import AREA, KERNELS, WATCH, follow, following, watched
from tests.world import snapshot_all


@pytest.fixture(params=KERNELS)
def desk(request, tmp_path):
    yield from following(request.param, tmp_path / "policies")


MEMCG = """
version: 1
name: cold
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: pageout
        quota: {size: 1MiB, every: 1s}
        filters: [{reject: {memcg: /machine.slice}}]
"""


def test_cgroups_that_are_made_and_removed(desk):
    """A path means the subtree: each of its cgroups is a filter of its own."""
    machine = desk.world.machine
    machine.make_cgroup("/machine.slice/new.scope")
    machine.remove_cgroup("/machine.slice/new.scope")
    desk.put("c.yaml", MEMCG)
    desk.rest()

    def named():
        files = snapshot_all(machine)
        return {each.strip() for path, each in files.items()
                if path.endswith("memcg_path") and each.strip()}  # fmt: skip

    before = named()
    machine.make_cgroup("/machine.slice/new.scope")
    assert follow(desk)
    assert named() - before == {"/machine.slice/new.scope"}
    machine.remove_cgroup("/machine.slice/new.scope")
    assert follow(desk)
    assert named() == before


def test_cgroups_that_match_a_pattern_are_followed(desk):
    """A container that starts is taken in, one that ends is let go."""
    machine = desk.world.machine
    machine.make_cgroup("/system.slice/docker-a.scope")
    desk.put("c.yaml", MEMCG.replace("/machine.slice", "/system.slice/docker-*.scope"))
    desk.rest()

    def named():
        files = snapshot_all(machine)
        return {each.strip() for path, each in files.items()
                if path.endswith("memcg_path") and each.strip()}  # fmt: skip

    assert named() == {"/system.slice/docker-a.scope"}
    machine.make_cgroup("/system.slice/docker-b.scope")
    machine.make_cgroup("/system.slice/other.scope")
    assert follow(desk)
    assert named() == {"/system.slice/docker-a.scope", "/system.slice/docker-b.scope"}
    machine.remove_cgroup("/system.slice/docker-a.scope")
    assert follow(desk)
    assert named() == {"/system.slice/docker-b.scope"}


GROUPED = WATCH.replace("{name: worker}", "{cgroup: /apps.slice}")


class Quiet:
    """Process events of a kernel on which nobody starts, changes or ends."""

    def read(self):
        return set()


@pytest.mark.parametrize("events", [None, Quiet()], ids=["polling", "events"])
def test_who_moves_to_another_cgroup_is_followed_within_two_seconds(desk, events, monkeypatch):
    """The kernel tells nobody; a move within what matters is none."""
    # how long a look took is of this machine's clock: on a busy one the next would be put off
    monkeypatch.setattr("damonpolicy.kernel.system.processes._SHARE", 0)
    machine = desk.world.machine
    for path in ("/apps.slice", "/apps.slice/one", "/apps.slice/two", "/other.slice"):
        machine.make_cgroup(path)
    first = machine.start_process("worker", areas=[AREA], cgroup="/apps.slice/one")
    second = machine.start_process("worker", areas=[AREA], cgroup="/other.slice")
    desk.put("w.yaml", GROUPED)
    desk.rest()
    desk.follower.events = events
    job = FollowJob(desk.follower)

    def rest(seconds):
        ends = machine.monotonic() + seconds
        while machine.monotonic() < ends:
            if job.due <= machine.monotonic():
                job.run()
            machine.sleep(0.125)

    rest(30)  # nobody is young any more, and all were looked at not long ago
    assert watched(desk) == {first}
    commits = job.follower.commits
    machine.move_process(second, "/apps.slice/two")
    rest(2)
    assert watched(desk) == {first, second}
    machine.move_process(second, "/other.slice")
    rest(2)
    assert watched(desk) == {first}
    machine.move_process(first, "/apps.slice/two")
    rest(2)
    assert watched(desk) == {first}
    assert job.follower.commits == commits + 2


def test_who_is_in_a_cgroup_is_looked_up_where_that_matters_only(desk):
    machine = desk.world.machine
    machine.start_process("worker", areas=[AREA])
    desk.put("w.yaml", WATCH)
    desk.rest()
    assert desk.follower.cgroups == frozenset()
    desk.follower.events = Quiet()
    job, reads, real = FollowJob(desk.follower), [], machine.read
    job.run()
    machine.read = lambda path: reads.append(path) or real(path)
    machine.sleep(1)
    job.run()

    assert [path for path in reads if "cgroup" in path] == []
    assert job.due == beat(machine.monotonic(), job.slow), "each second would be too often"
