"""An emulated machine with a store, and helpers for commands."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from damonpolicy.emulated.files import Content
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import Places, find
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import FeatureRefused, Terms, execute
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import configuration, fed, is_volatile, slot_tree
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.files import load as load_files

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("ksm", "ksm-survey", "proactive-reclaim", "memory-tiering", "monitor")
KERNELS = ("6.12", "6.18", "7.3")
STAT_OFF = "/sys/module/damon_stat/parameters/enabled"

APPLIES = {
    kernel: [name for name in SHIPPED if not (kernel == "6.12" and name == "memory-tiering")]
    for kernel in KERNELS
}
"""Which shipped policies each kernel can do."""

CHANGED = {
    "ksm": {"cold_for": "5m"},
    "ksm-survey": {"cold_for": "5m"},
    "proactive-reclaim": {"most": "64MiB"},
    "memory-tiering": {"rate": "100MiB"},
    "monitor": {"program": "mysqld"},
}
"""For each shipped policy, a variable to change online; `World` has a mysqld for monitor."""


def snapshot_all(machine: EmulatedMachine) -> dict[str, str]:
    """Return the contents of all writable files of DAMON, settings and modules."""
    found: dict[str, str] = {}

    def collect(path: str) -> None:
        content = machine._files.file(path)
        if isinstance(content, Content):
            if content.mode & 0o600 == 0o600:
                found[path] = str(content.read())
        else:
            for name in sorted(machine._files.names(path) or ()):
                collect(f"{path}/{name}")

    with machine._mutex:
        machine._refresh()
        for path in ("/sys/kernel/mm/damon", *machine._settings.known, *machine._modules.known):
            collect(path)
    return found


def in_memory_directory() -> Path:
    """A directory for state that costs no disk: thousands of transactions run here."""
    shm = "/dev/shm"  # where there is none, any temporary directory will do
    return Path(tempfile.mkdtemp(dir=shm if os.path.isdir(shm) else None))


BTF = "/sys/kernel/btf/vmlinux"


class Blind(EmulatedMachine):
    """A machine whose kernel was built without type information."""

    def read_bytes(self, path):
        if path == BTF:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return super().read_bytes(path)


@dataclass
class World:
    """A machine, where its state is kept, and what tests do with both."""

    machine: EmulatedMachine
    directory: Path
    places: Places = field(init=False)

    def __post_init__(self):
        self.places = find(self.machine, self.directory)

    @classmethod
    def make(cls, kernel: str, kind: type[EmulatedMachine] = EmulatedMachine) -> World:
        return cls(kind.create(kernel), in_memory_directory())

    def close(self):
        shutil.rmtree(self.directory)

    @property
    def managed(self):
        return Store(self.places).managed(look(self.machine).boot_id)

    @property
    def capabilities(self):
        return detect(self.machine, retrieve(self.machine).tree)

    def compile(self, name: str, variables=None, text=None, capabilities=None):
        """Compile a shipped policy, or one given as text."""
        if text is None:
            files, _ = load_files([str(ROOT / "policies" / f"{name}.yaml")])
        else:
            files = [SourceFile(f"{name}.yaml", text)]
        loaded = load(files, Overrides(variables or {}), machine=self.machine)
        capabilities = capabilities or self.capabilities
        policies, found = compile_policies(loaded, capabilities, self.machine, Upkeep(unfed=True))
        errors = [each for each in (*loaded.found, *found) if each.severity == "error"]
        assert not errors, errors
        return policies

    def apply(self, name: str, variables=None, text=None, **options):
        """One apply, as the command does it; returns what is managed then."""
        with changing(self.machine, self.places) as session:
            compiled = self.compile(name, variables, text)
            wanted = {**session.managed.policies, **compiled}
            current, plan = prepare(self.machine, session.managed, wanted, compiled)
            if not plan.changes(session.managed):
                return session.managed
            terms = Terms("t", **options)
            return execute(self.machine, current, plan, session.managed, session.store, terms)

    def try_(self, text: str, known=None):
        """Apply as the command does, again without what the kernel refused; returns what is known."""
        with changing(self.machine, self.places) as session:
            known = known or self.capabilities
            while True:
                compiled = self.compile("p", text=text, capabilities=known)
                wanted = {**session.managed.policies, **compiled}
                current, plan = prepare(self.machine, session.managed, wanted, compiled)
                try:
                    session.carry_out(current, plan, Terms("t", capabilities=known))
                except FeatureRefused as refused:
                    known = refused.capabilities
                else:
                    return known

    def remove(self, *names: str):
        with changing(self.machine, self.places) as session:
            rest = {n: p for n, p in session.managed.policies.items() if n not in names}
            current, plan = prepare(self.machine, session.managed, rest, ())
            session.carry_out(current, plan, Terms("remove"))

    def recover(self):
        with changing(self.machine, self.places, settle=True) as session:
            return session.remarks

    def write(self, path: str, text: str):
        """As someone else would, by plain shell."""
        self.machine.write(path if path.startswith("/") else f"{KDAMONDS}/{path}", text)

    def foreign(self, *, on: bool, slots: int = 8, slot: int = 0):
        """Someone else's kdamond, configured by plain writes."""
        if self.machine.exists(STAT_OFF):
            self.write(STAT_OFF, "N")
        self.write("nr_kdamonds", str(slots))
        base = f"{slot}/contexts"
        self.write(f"{base}/nr_contexts", "1")
        self.write(f"{base}/0/operations", "paddr")
        self.write(f"{base}/0/monitoring_attrs/intervals/sample_us", "7000")
        self.write(f"{base}/0/targets/nr_targets", "1")
        self.write(f"{base}/0/targets/0/regions/nr_regions", "1")
        self.write(f"{base}/0/targets/0/regions/0/start", "4294967296")
        self.write(f"{base}/0/targets/0/regions/0/end", "4303355904")
        self.write(f"{base}/0/schemes/nr_schemes", "1")
        if on:
            self.write(f"{slot}/state", "on")

    def look(self):
        """Everything that a failed transaction has to leave as it was.

        Files but volatile ones, running states, and what each running kdamond really runs.
        """
        files = snapshot_all(self.machine)
        prefix = f"{KDAMONDS}/"
        tree = {p.removeprefix(prefix): v for p, v in files.items() if p.startswith(prefix)}
        count = int(tree["nr_kdamonds"])
        seen = {p: v for p, v in files.items() if not p.startswith(prefix)}
        seen["nr_kdamonds"] = tree["nr_kdamonds"]
        for slot in range(count):
            own = slot_tree(tree, slot)
            for path, value in own.items():
                if path == "state" or not is_volatile(path, own):
                    seen[f"{slot}/{path}"] = value
            running = self.machine.running(slot)
            seen[f"{slot}/runs"] = running and committed(running)
        return seen


def committed(running):
    """What a running kdamond was given, without what the kernel tunes."""
    tree = {f"contexts/0/{path}": value for path, value in flat(running).items()}
    return {**configuration(tree), **fed(tree, tree)}


def flat(tree, prefix=""):
    """A nested tree as paths."""
    if hasattr(tree, "items"):
        items = tree.items()
    else:
        return {prefix.rstrip("/"): tree}
    found = {}
    for name, value in items:
        found |= flat(value, f"{prefix}{name}/")
    return found


def fail_at(machine, number: int, code: int = errno.EIO):
    """Let the number-th write from now on fail, once; 0 for none. Returns the counter."""
    seen = {"writes": 0}

    def hook(_, path, text):
        seen["writes"] += 1
        if seen["writes"] == number:
            raise OSError(code, os.strerror(code), path)

    machine.before_write = hook
    return seen
