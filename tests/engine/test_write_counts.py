"""The number of a command's writes, from the emulated machine's log."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS
from tests.world import APPLIES, CHANGED, KERNELS, ROOT, World

EVERY = [(kernel, name) for kernel in KERNELS for name in APPLIES[kernel]]
QUOTA = "contexts/0/schemes/0/quotas/bytes"


@pytest.fixture
def world(request):
    made = World.make(request.param)
    yield made
    made.close()


def written(world, since):
    """Writes since some number of them, below a kdamond's directory where they are there."""
    return [
        (each.path.removeprefix(f"{KDAMONDS}/"), each.text) for each in world.machine.log[since:]
    ]


def text(name):
    return (ROOT / "policies" / f"{name}.yaml").read_text()


@pytest.mark.parametrize(("world", "name"), EVERY, indirect=["world"])
def test_twice_writes_nothing_the_second_time(world, name):
    world.apply(name)
    before, generation = len(world.machine.log), world.managed.generation
    assert before > 0
    world.apply(name)
    world.apply(name)

    assert written(world, before) == []
    assert world.managed.generation == generation


@pytest.mark.parametrize("world", KERNELS, indirect=True)
def test_all_of_them_together_write_nothing_the_second_time(world):
    names = APPLIES[world.machine.profile.version]
    for name in names:
        world.apply(name)
    before = len(world.machine.log)
    for name in [*names, *reversed(names)]:
        world.apply(name)

    assert written(world, before) == []


@pytest.mark.parametrize("world", KERNELS, indirect=True)
def test_one_changed_quota_is_one_write_and_one_commit(world):
    world.apply("proactive-reclaim")
    before, pid = len(world.machine.log), world.managed.slots[0].pid
    world.apply("proactive-reclaim", {"most": "64MiB"})

    assert written(world, before) == [
        (f"0/{QUOTA}", str(64 << 20)),
        ("0/state", "commit"),
        ("0/state", "update_schemes_stats"),  # asks whether it lives, and changes nothing
    ]
    assert world.managed.slots[0].pid == pid
    assert world.machine.running(0)["schemes"]["0"]["quotas"]["bytes"] == str(64 << 20)


@pytest.mark.parametrize("world", ["6.18", "7.3"], indirect=True)
def test_tuned_intervals_are_read_back_before(world):
    """Only the kdamond whose quota changed is written to; the other stays untouched."""
    policy = text("memory-tiering")
    first = policy.replace('size: "{{ rate }}"', 'size: "100MiB"', 1)
    world.apply("memory-tiering", text=policy)
    before = len(world.machine.log)
    world.apply("memory-tiering", text=first)

    assert written(world, before) == [
        ("0/state", "update_tuned_intervals"),
        (f"0/{QUOTA}", str(100 << 20)),
        ("0/state", "commit"),
        ("0/state", "update_schemes_stats"),
    ]


@pytest.mark.parametrize(("world", "name"), EVERY, indirect=["world"])
def test_every_online_change_is_committed_and_not_restarted(world, name):
    world.machine.start_process("mysqld", areas=[{"size": "64MiB"}])
    world.apply(name)
    before = len(world.machine.log)
    world.apply(name, CHANGED[name])
    done = written(world, before)
    commands = [(path, value) for path, value in done if path.endswith("/state")]

    # before 6.19 another process takes two: the common targets, then the new ones
    most = 2 if name == "monitor" else 1
    for slot in world.managed.slots:
        assert 1 <= commands.count((f"{slot}/state", "commit")) <= most
    assert not {value for _, value in commands} & {"on", "off"}
    if name != "monitor":  # whose other process takes a new list of targets
        files = [path for path, _ in done if not path.endswith("/state")]
        assert len(files) == len(world.managed.slots)


@pytest.mark.parametrize(("world", "name"), EVERY, indirect=["world"])
def test_no_write_of_a_value_that_is_there(world, name):
    """A first apply writes what differs from a new directory, and nothing else."""
    seen = []

    def look(_, path, value):
        if not path.endswith(("/state", "nr_kdamonds")):
            seen.append((path, value, world.machine.read(path).removesuffix("\n")))

    world.machine.before_write = look
    world.apply(name)

    assert len(seen) > 3
    assert [each for each in seen if each[1] == each[2]] == []
