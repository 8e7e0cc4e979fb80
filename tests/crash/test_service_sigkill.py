"""A service killed at any moment: after a restart, the machine matches the policies.

A script of edits, processes and numbers is played to a service once, and the machine is kept
after each of its acts. Each of the moments takes one of these machines, forks a service that
goes on with the script, and kills it right before one of the calls by which it changes a file.
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing

import pytest

from damonpolicy.daemon.jobs.feed import FeedJob
from damonpolicy.daemon.jobs.follow import Follower, FollowJob
from damonpolicy.daemon.jobs.observe import ObserveJob
from damonpolicy.daemon.jobs.reload import Reloader, ReloadJob
from damonpolicy.daemon.jobs.repair import Repairer
from damonpolicy.daemon.jobs.status_file import RecordJob
from damonpolicy.daemon.jobs.tune import TuneJob
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.daemon.scheduler import Service, Wake
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.session import changing
from damonpolicy.observe.status.document import drift
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.source.content import without_alarm
from tests.crash.test_sigkill import CALLS, in_child, opened
from tests.daemon.conftest import PAGES, RUN
from tests.policies import WATCH, toward_goals
from tests.world import STAT_OFF, in_memory_directory

pytestmark = pytest.mark.unmeasured  # what is killed has covered nothing, and only gets slow

KERNELS = ("6.12", "7.3")
GROUPS, MOMENTS = 10, 25
"""For each kernel: 250 moments, in groups that can run beside each other."""

# The files of numbers are as old as the test, which takes more than a minute on a busy machine.
STEADY = """
version: 1
name: steady
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: seen, action: stat}]
"""
FED = toward_goals(
    "fed", "{metric: user_input, target: 1000, from: {file: SCORE, stale_after: 1h}}"
)
PACE = f"""
version: 1
name: pace
settings:
  {RUN}: 1
  {PAGES}: 100
tuning:
  - name: scan
    setting: {PAGES}
    from: {{file: SCORE, stale_after: 1h}}
    bounds: {{min: 50, max: 1000}}
    every: 1s
"""


class Bench:
    """A machine, a directory of policies, and the service that looks at it."""

    def __init__(self, kernel, directory):
        self.world = opened(kernel, directory)
        self.policies, self.score = directory / "policies", directory / "score"
        self.policies.mkdir(exist_ok=True)

    @property
    def machine(self):
        return self.world.machine

    def put(self, name, text):
        temporary = self.policies / f".{name}"
        temporary.write_text(text.replace("SCORE", str(self.score)))
        temporary.replace(self.policies / name)

    def workers(self):
        comm = [(int(pid), self.machine.read(f"/proc/{pid}/comm").strip())
                for pid in (entry.name for entry in self.machine.scan("/proc")) if pid.isdecimal()]  # fmt: skip
        return sorted(pid for pid, name in comm if name == "worker")

    def serve(self, *, seconds=4.0, meanwhile=()):
        """Run a service until everything has come to rest; each of ``meanwhile`` takes a turn."""
        keeper = Keeper(self.machine, self.world.places, [str(self.policies)])
        reloader = Reloader(keeper, debounce=0.2)
        follow = FollowJob(Follower(keeper))
        feed, tune = FeedJob(keeper), TuneJob(keeper)
        observe = ObserveJob(keeper, Repairer(keeper))
        jobs = [ReloadJob(reloader), follow, tune, feed,
                observe, RecordJob(reloader, follow.follower, feed, tune, observe)]  # fmt: skip
        with closing(Wake()) as wake:
            service = Service(self.machine, wake, jobs)
            for act in (lambda _: None, *meanwhile):
                act(self)
                rests = self.machine.monotonic() + seconds
                while self.machine.monotonic() < rests:
                    self.machine.sleep(max(service.step(), 0.05))

    def look(self):
        """What the machine is like, whichever slot a kdamond has."""
        seen, managed = self.world.look(), self.world.managed
        names = {str(slot): record.kdamond for slot, record in managed.slots.items()}
        found = {f"{names[slot]}/{rest}": value for path, value in seen.items()
                 for slot, _, rest in [path.partition("/")] if slot in names}  # fmt: skip
        found |= {
            path: value for path, value in seen.items() if path.startswith("/sys/kernel/mm/ksm")
        }
        if any(policy.loops for policy in managed.policies.values()):
            found[PAGES] = 50 <= int(found[PAGES]) <= 1_000
        for slot, name in names.items():
            if runs := found[f"{name}/runs"]:
                # targets that were taken out by name were committed, and are monitored no more
                given = {path: v for path, v in runs.items() if "/targets/" not in path}
                targets = self.machine._kdamonds.running(slot)["targets"]
                found[f"{name}/runs"] = {**given, "pids": sorted(each["pid"] for each in targets)}
        on = sum(value == "on" for path, value in seen.items() if path.endswith("/state"))
        return {**found, "running": on, "policies": sorted(managed.policies)}

    def fed(self):
        """The number in effect, not the staged one; None where no scheme has one."""
        slot = self.world.managed.slot_of("fed/k")
        runs = None if slot is None else self.machine.running(slot)
        return runs and runs["schemes"]["0"]["quotas"]["goals"]["0"].get("current_value")

    def steady(self):
        """The thread of the kdamond that no edit changes."""
        slot = self.world.managed.slot_of("steady/k")
        return None if slot is None else self.machine.read(
            f"/sys/kernel/mm/damon/admin/kdamonds/{slot}/pid")  # fmt: skip


def worker(bench):
    bench.machine.start_process("worker", areas=[{"size": "4MiB"}])


def edit_in_place(bench):
    """As careless editors do: for a moment it is half of a policy, or of two."""
    path = bench.policies / "pace.yaml"
    path.write_text(path.read_text().replace("max: 1000", "max: 900"))


SCRIPT = (
    lambda bench: (bench.put("steady.yaml", STEADY), bench.put("fed.yaml", FED)),
    lambda bench: bench.put("watch.yaml", WATCH),
    lambda bench: (worker(bench), worker(bench)),
    lambda bench: bench.put("fed.yaml", FED.replace("100MiB", "200MiB")),
    lambda bench: (bench.machine.exit_process(bench.workers()[0]), worker(bench)),
    lambda bench: bench.put("pace.yaml", PACE),
    lambda bench: bench.score.write_text("800"),
    lambda bench: bench.put("fed.yaml", FED.replace("100MiB", "lots")),
    lambda bench: bench.put("fed.yaml", FED.replace("1000", "1200")),
    lambda bench: (bench.policies / "watch.yaml").unlink(),
    edit_in_place,
    lambda bench: (bench.policies / "pace.yaml").unlink(),
)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that passes only when it is waited for."""
    now = [1000.0]
    monkeypatch.setattr(EmulatedMachine, "monotonic", lambda machine: now[0])
    monkeypatch.setattr(
        EmulatedMachine, "sleep", lambda machine, seconds: now.append(now.pop() + seconds)
    )
    without_alarm()


class Site:
    """The one place where services work: what they keep tells of it."""

    def __init__(self, kernel):
        self.kernel, self.root = kernel, in_memory_directory()
        self.directory = self.root / "site"

    def bench(self, stage=None):
        """Open what is there, or what was kept."""
        if stage is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            shutil.copytree(stage, self.directory)
        self.directory.mkdir(exist_ok=True)
        return Bench(self.kernel, self.directory)

    def stages(self):
        """Play the script once; returns what there was before each act."""
        bench, kept = self.bench(), []
        if bench.machine.exists(STAT_OFF):
            bench.world.write(STAT_OFF, "N")
        bench.score.write_text("500")
        for number, act in enumerate(SCRIPT):
            kept.append(self.root / str(number))
            shutil.copytree(self.directory, kept[-1])
            bench.serve(meanwhile=[act])
        return kept

    def calls(self, stage, acts):
        """Count the calls by which a service that lives on changes files."""
        counter = self.root / "calls"
        self.bench(stage)

        def count():
            total = [0]
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name), total))
            self.bench().serve(meanwhile=acts)
            counter.write_text(str(total[0]))

        assert not in_child(count, 0)
        return int(counter.read_text())


def counted(function, total):
    def wrapped(*arguments, **options):
        total[0] += 1
        return function(*arguments, **options)

    return wrapped


def anew(bench, texts):
    """What the machine is like where nothing was ever killed, with these files and the processes."""
    for name, text in texts.items():
        bench.put(name, text)
    with changing(bench.machine, bench.world.places) as session:
        session.stop_all()
    bench.serve()
    return bench.look()


@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("kernel", KERNELS)
def test_killed_at_random_moments(kernel, group):
    chance, site = random.Random(f"{kernel} {group}"), Site(kernel)
    stages, totals, known = site.stages(), {}, {}
    fell, killed = set(), 0
    while killed < MOMENTS:
        number = chance.randrange(len(stages))
        acts = SCRIPT[number : number + 2]
        if number not in totals:
            totals[number] = site.calls(stages[number], acts)
        at = chance.randrange(1, totals[number] + 1)
        steady = site.bench(stages[number]).steady()
        if not in_child(lambda acts=acts: site.bench().serve(meanwhile=acts), at):
            continue  # times of files are real: it may take a look less
        killed += 1
        bench = site.bench()
        fell.add(bench.world.places.journal.exists())
        if chance.random() < 0.5:
            bench.world.recover()
        bench.serve()

        where = f"stage {number}, call {at}, moment {killed}"
        assert steady in (None, bench.steady()), where
        assert bench.fed() in (None, bench.score.read_text()), where
        assert not bench.world.places.journal.exists(), where
        assert not bench.machine.poisoned, where
        texts = {path.name: path.read_text() for path in bench.policies.glob("*.yaml")}
        # what is invalid leaves all as it was by the files before
        good = {name: text.replace("lots", "200MiB") for name, text in texts.items()}
        managed = bench.world.managed
        assert drift(retrieve(bench.machine, managed.settings), managed) == [], where
        key = (bench.score.read_text(), *sorted(good.items()), *bench.workers())
        seen = bench.look()
        if key not in known:
            known[key] = anew(bench, good)
        assert seen == known[key], where
    shutil.rmtree(site.root)

    assert fell == {True, False}, "some fell into a transaction, some between two"
