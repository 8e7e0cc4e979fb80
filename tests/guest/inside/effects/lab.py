"""The lab: a kdamond starts with one value, another is committed, and a probe looks for its effect.

An answer is ``yes``; ``no``, where the new value acts only after a restart; ``never``, where it
does not even then; or ``unclear`` with what went wrong. Statistics, tried regions, quotas in effect
or tuned intervals show what acts, never the file that was written.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from damonpolicy.kernel.damon.tree import Tree, kdamond_path
from damonpolicy.kernel.system.machine import KDAMONDS, Machine
from damonpolicy.kernel.system.memory import Range
from damonpolicy.plan.diff import changes

__all__ = (
    "ALL", "A", "C", "G", "I", "Lab", "Load", "Places", "Probe", "Q", "S", "Staged", "Staging", "Symptom", "T", "W",
    "ask", "grows", "physical", "virtual",
)  # fmt: skip

C = "contexts/0"
A = f"{C}/monitoring_attrs"
I = f"{A}/intervals"  # noqa: E741 -- beside A, C, S and T
T = f"{C}/targets"
S = f"{C}/schemes/0"
Q = f"{S}/quotas"
G = f"{Q}/goals"
W = f"{S}/watermarks"

_MOST = (1 << 32) - 1
_BLINK = 0.1
_QUIET = 1.0
"""Seconds after which what happens ten times a second is over; guests are slow."""
_TRIES = 4
_BUSY = 5.0
"""Seconds for which kernels may be busy: 6.12's kdamonds take DAMON's lock themselves."""


@dataclass(frozen=True, slots=True)
class Load:
    """A process: memory that is touched all the time, and some that never is."""

    pid: int
    hot: Range
    cold: Range
    spot: Range
    """Physical addresses of a huge page of ``hot``: it alone is there."""


@dataclass(frozen=True, slots=True)
class Places:
    """What there is to look at. Both processes have their memory on node 1."""

    load: Load
    other: Load
    mine: str
    """The cgroup of ``load``."""
    empty: str
    """Another one, without processes."""
    fresh: Callable[[], AbstractContextManager[Load]]
    """Start one more process, with memory on node 0 that may be moved away."""
    able: Callable[[str], bool]
    """Return whether the kernel has a feature."""
    full: int
    """The node of which more is used, by some percent at least; the other one is the emptier."""
    between: int
    """A share of a node, in basis points, between what is used of the two."""


Staged: TypeAlias = Mapping[str, object]
"""Contents by path below the kdamond's directory."""
Staging: TypeAlias = "Staged | Callable[[Load], Staged]"
"""The same, or how to make it for a process that is started for the probe alone."""
Symptom: TypeAlias = "Callable[[Lab], bool]"


@dataclass(frozen=True, slots=True)
class Probe:
    """How to see the effect of one file, named by ``cell``: its pattern, perhaps a word or a note.

    The kdamond starts with ``before`` (or with ``first``, and ``before`` is committed). ``after``
    is what is then changed. ``symptom`` is asked until it is as ``new`` says.
    """

    cell: str
    before: Staging
    after: Staging
    symptom: Symptom
    new: bool = True
    first: Staging | None = None
    command: str = "commit"
    needs: str = ""
    """A feature without which the probe would harm the kernel."""
    unmodelled: str = ""
    """Why emulated kernels show nothing of it, or an empty text."""


ALL: Staged = {
    f"{C}/schemes/0/access_pattern/{name}/max": _MOST for name in ("sz", "nr_accesses", "age")
}


def _base(ops: str, pid: int, span: Range) -> Staged:
    return {
        "contexts/nr_contexts": 1,
        f"{C}/operations": ops,
        f"{T}/nr_targets": 1,
        f"{T}/0/pid_target": pid,
        f"{T}/0/regions/nr_regions": 1,
        f"{T}/0/regions/0/start": span[0],
        f"{T}/0/regions/0/end": span[1],
        f"{C}/schemes/nr_schemes": 1,
        **ALL,
    }


def virtual(load: Load, span: Range | None = None, **more: object) -> Staged:
    """Look at a process, at its hot memory if nothing is said."""
    return {**_base("fvaddr", load.pid, span or load.hot), **more}


def physical(span: Range, **more: object) -> Staged:
    """Sort the pages of physical memory as accessed: that is counted, and can be done for ever."""
    return {**_base("paddr", 0, span), f"{S}/action": "lru_prio", **more}


@dataclass(slots=True)
class Lab:
    """The first kdamond of a machine."""

    machine: Machine
    places: Places
    tree: dict[str, str] = field(default_factory=dict)

    def start(self, staged: Staged) -> None:
        """Make the kdamond and start it."""
        self._write(f"{KDAMONDS}/nr_kdamonds", "1")
        self.tree = {"contexts/nr_contexts": "0"}
        self._stage(staged)
        self.command("on")

    def _stage(self, staged: Staged) -> None:
        wanted: Tree = {path: str(value) for path, value in staged.items()}
        operations, self.tree = changes(0, self.tree, wanted, anew=True)
        for each in operations:
            self._write(each.path, each.after)

    def commit(self, staged: Staged, command: str = "commit") -> None:
        """Stage and commit."""
        self._stage(staged)
        self.command(command)

    def restart(self) -> None:
        """Let it begin with what is staged."""
        self.command("off")
        self.command("on")

    def stop(self) -> None:
        """End it, and leave nothing."""
        if self.machine.exists(kdamond_path(0, "state")) and self.read("state") == "on":
            self.command("off")
        self._write(f"{KDAMONDS}/nr_kdamonds", "0")

    def command(self, word: str) -> None:
        """Give a command."""
        self._write(kdamond_path(0, "state"), word)

    def _write(self, path: str, text: str) -> None:
        deadline = self.machine.monotonic() + _BUSY
        while True:
            try:
                self.machine.write(path, text)
            except OSError as error:
                if error.errno != errno.EBUSY or self.machine.monotonic() > deadline:
                    raise
                self.machine.sleep(_BLINK / 10)
            else:
                return

    def read(self, path: str) -> str:
        """Read a file below the kdamond's directory."""
        return self.machine.read(kdamond_path(0, path)).removesuffix("\n")

    def stat(self, name: str, scheme: int = 0) -> int:
        """Return a statistic of a scheme."""
        self.command("update_schemes_stats")
        return int(self.read(f"{C}/schemes/{scheme}/stats/{name}"))

    def effective(self) -> int:
        """Return the quota in effect."""
        self.command("update_schemes_effective_quotas")
        return int(self.read(f"{Q}/effective_bytes"))

    def tuned(self) -> int:
        """Return the sampling interval in effect; staged files stay as they were."""
        self.command("update_tuned_intervals")
        found = int(self.read(f"{I}/sample_us"))
        self.tree[f"{I}/sample_us"] = str(found)
        self.tree[f"{I}/aggr_us"] = self.read(f"{I}/aggr_us")
        return found

    def regions(self) -> list[dict[str, int]]:
        """Return the regions that the first scheme tries next."""
        self.command("update_schemes_tried_regions")
        base = f"{S}/tried_regions"
        found = []
        for entry in self.machine.scan(kdamond_path(0, base)):
            if entry.is_dir:
                here = f"{base}/{entry.name}"
                names = ["start", "end", "nr_accesses"]
                if self.machine.exists(kdamond_path(0, f"{here}/probes/0/hits")):
                    names.append("probes/0/hits")
                found.append({name: int(self.read(f"{here}/{name}")) for name in names})
        return found

    def becomes(self, true: Callable[[], bool], seconds: float = _QUIET) -> bool:
        """Return whether something comes true within some seconds."""
        deadline = self.machine.monotonic() + seconds
        while not true():
            if self.machine.monotonic() > deadline:
                return False
            self.machine.sleep(_BLINK)
        return True

    def shows(self, probe: Probe, *, wanted: bool) -> bool:
        """Ask for a symptom some times, until it is as wanted."""
        return any(probe.symptom(self) == wanted for _ in range(_TRIES))


def grows(name: str, scheme: int = 0) -> Symptom:
    """Return whether a statistic of a scheme goes up."""

    def symptom(lab: Lab) -> bool:
        before = lab.stat(name, scheme)
        return lab.becomes(lambda: lab.stat(name, scheme) > before)

    return symptom


@contextmanager
def _prepared(lab: Lab, probe: Probe) -> Iterator[list[Staged]]:
    """Give all that is staged, with a process of its own if need be; leave nothing."""
    stages = [each for each in (probe.first, probe.before, probe.after) if each is not None]
    with ExitStack() as stack:
        if any(map(callable, stages)):
            load = stack.enter_context(lab.places.fresh())
            stages = [each(load) if callable(each) else each for each in stages]
        # before the process ends: with its last one a kdamond ends by itself
        stack.callback(lab.stop)
        yield [each for each in stages if not callable(each)]


def ask(lab: Lab, probe: Probe) -> str:
    """Return the answer of a kernel; an empty text where it has no such file or word."""
    if probe.needs and not lab.places.able(probe.needs):
        return ""
    with _prepared(lab, probe) as stages:
        *earlier, before, after = stages
        try:
            lab.start(earlier[0] if earlier else before)
            if earlier:
                lab.machine.sleep(1)
                lab.commit(before)
            return _answer(lab, probe, after)
        except FileNotFoundError:
            return ""
        except OSError as error:
            file = (error.filename or "").rpartition("/kdamonds/")[2]
            if error.errno == errno.EINVAL and not file.endswith("/state"):
                return ""  # it lacks the word
            return f"unclear: {errno.errorcode[error.errno or errno.EIO]} of {file}"


def _answer(lab: Lab, probe: Probe, after: Staged) -> str:
    if not lab.shows(probe, wanted=not probe.new):
        return "unclear: nothing shows the old value"
    lab.commit(after, probe.command)
    if lab.shows(probe, wanted=probe.new):
        return "yes"
    lab.restart()
    return "no" if lab.shows(probe, wanted=probe.new) else "never"
