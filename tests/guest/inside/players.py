"""The two equal machines of a comparison: three processes, two nodes, no running module."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from damonpolicy.kernel.damon.modules import ALL, Parameter
from damonpolicy.kernel.system.machine import Entry, LiveMachine

from .answers import Player
from .cgroups import ROOT
from .rehearsal import RehearsingMachine

__all__ = (
    "CGROUPS", "NAMES", "EmulatedPlayer", "Sleepers", "emulated", "parameters", "prime", "real",
    "reset_modules",
)  # fmt: skip

NAMES = ("one", "two", "three")
"""The processes, as scripts call them."""
CGROUPS = ("/answers", "/questions")
"""Control groups that come and go."""

_GUEST = {
    "nodes": [{"memory": "1GiB", "cpus": "0"}, {"memory": "1GiB", "cpus": "1"}],
    "processes": [{"name": "init", "pid": 1, "areas": [{"size": "4MiB"}]}],
}
_SECONDS = 5
_GONE_SECONDS = 0.5
_PAGE = 4096
_STAT = "/sys/module/damon_stat/parameters/enabled"


class EmulatedPlayer(Player):
    """A player whose machine is an emulated one."""

    machine: RehearsingMachine


def emulated(series: str, pids: Mapping[str, int] | None = None) -> EmulatedPlayer:
    """Make an emulated machine that is like the guest, with processes of these pids."""
    machine = RehearsingMachine.create(series, spec=_GUEST)
    if machine.exists(_STAT):
        machine.write(_STAT, "N")  # as on the command line of all our guests
    found = {
        name: machine.start_process(name, pid=pid, areas=[{"size": "16MiB"}])
        for name, pid in (pids or dict.fromkeys(NAMES, 0)).items()
    }
    return EmulatedPlayer(
        machine, found, machine.exit_process, machine.make_cgroup, machine.remove_cgroup
    )


class _Quick(LiveMachine):
    """A live machine that is read with few calls: each takes its time under emulation."""

    def scan(self, path: str) -> list[Entry]:
        with os.scandir(path) as found:
            return sorted([Entry(each.name, each.is_dir()) for each in found])

    def _read(self, path: str) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _PAGE)  # no file of DAMON's is longer
        finally:
            os.close(descriptor)


class Sleepers:
    """Processes for kdamonds to look at; ``pids`` are those that they have now."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.pids: dict[str, int] = {}
        self.renew()

    def renew(self) -> None:
        """Start the ended ones again."""
        for name in NAMES:
            if name not in self._processes:
                self._processes[name] = subprocess.Popen(["/bin/sleep", "10000"])
                self.pids[name] = self._processes[name].pid

    def end(self, pid: int) -> None:
        """End one."""
        name = next((each for each, process in self._processes.items() if process.pid == pid), "")
        if not name:
            raise ProcessLookupError(pid)
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def end_all(self) -> None:
        """End those that are left."""
        for process in list(self._processes.values()):
            self.end(process.pid)


@contextmanager
def real() -> Iterator[tuple[Player, Sleepers]]:
    """Yield the guest's own kernel, with processes, which end with the block."""
    (ROOT / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    sleepers = Sleepers()
    try:
        yield (
            Player(
                _Quick(),
                sleepers.pids,
                sleepers.end,
                lambda path: Path(f"{ROOT}{path}").mkdir(),
                _remove_cgroup,
            ),
            sleepers,
        )
    finally:
        sleepers.end_all()


def _remove_cgroup(path: str) -> None:
    """Remove a cgroup, and wait until DAMON no longer finds it.

    Where it has a number of its own for DAMON, that is when it is offline: Linux 6.16 to 6.19
    keep every cgroup that a filter has named. Later kernels find it until it is gone.
    """
    kept = _dying()["nr_dying_descendants"]
    Path(f"{ROOT}{path}").rmdir()
    began = time.monotonic()
    while (waited := time.monotonic() - began) < _SECONDS:
        counts = _dying()
        offline = counts["nr_dying_subsys_memory"] >= counts["nr_dying_descendants"]
        if offline and (counts["nr_dying_descendants"] <= kept or waited > _GONE_SECONDS):
            return
        time.sleep(0.01)


def _dying() -> dict[str, int]:
    """Return the counts of cgroups that are removed and not yet gone, and of others."""
    lines = (ROOT / "cgroup.stat").read_text(encoding="ascii").splitlines()
    return {name: int(count) for name, count in map(str.split, lines)}


def parameters(player: Player) -> list[Parameter]:
    """Return the parameters of DAMON's modules that can be written on this kernel."""
    return [
        each
        for each in ALL
        if each.kind not in ("value", "pid") and player.machine.exists(each.path)
    ]


def prime(player: Player) -> None:
    """Let each module have run once: kernels answer differently before that."""
    for each in parameters(player):
        if each.name == "enabled":
            player.machine.write(each.path, "Y")
            player.machine.write(each.path, "N")
    reset_modules(player)


def reset_modules(player: Player) -> None:
    """Switch all modules off, and give their parameters back their defaults."""
    for each in parameters(player):
        if player.machine.read(each.path).strip() != each.default:
            player.machine.write(each.path, each.default)
