import pytest

from damonpolicy.daemon.jobs.reload import Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.metrics import Exporter
from damonpolicy.policy.source.content import without_alarm
from tests.world import STAT_OFF, World

DEBOUNCE = 0.5
RUN, PAGES = "/sys/kernel/mm/ksm/run", "/sys/kernel/mm/ksm/pages_to_scan"


def settings(name="p", *, pages, run=1):
    """A policy that is valid wherever it is cut behind a line of its settings."""
    return f"version: 1\nname: {name}\nsettings:\n  {RUN}: {run}\n  {PAGES}: {pages}\n"


@pytest.fixture(autouse=True)
def _leases():
    without_alarm()


@pytest.fixture
def world():
    made = World.make("7.3")
    made.write(STAT_OFF, "N")
    yield made
    assert not made.machine.poisoned
    made.close()


class Desk:
    """A directory of policies, and the service that looks at it."""

    def __init__(self, world, directory):
        self.world, self.directory = world, directory
        directory.mkdir()
        self.keeper = Keeper(world.machine, world.places, [str(directory)])
        self.reloader = Reloader(self.keeper, debounce=DEBOUNCE)

    def put(self, name, text):
        """Write a file as careful programs do."""
        temporary = self.directory / f".{name}"
        temporary.write_text(text)
        temporary.replace(self.directory / name)

    def rest(self):
        """Look until everything has come to rest; returns the last outcome."""
        for _ in range(4):
            self.reloader.look()
            self.world.machine.sleep(DEBOUNCE / 2)
        self.reloader.look()
        return self.reloader.outcome

    def read(self, path):
        return self.world.machine.read(path).strip()


@pytest.fixture
def desk(world, tmp_path):
    return Desk(world, tmp_path / "policies")


@pytest.fixture
def serve():
    """Start exporters of metrics; all are stopped at the end."""
    started = []

    def starting(take=None, address="127.0.0.1:0"):
        started.append(Exporter(address, take))
        return started[-1]

    yield starting
    for each in started:
        each.stop()
