"""A durable emulated machine on which tests run commands and check the results."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

from damonpolicy.emulated.machine import EmulatedMachine
from tests.conftest import Outcome, run_cli
from tests.world import ROOT, World, in_memory_directory

SETTING = "version: 1\nname: {name}\nsettings: {{{path}: {value}}}\n"
KSM_RUN = "/sys/kernel/mm/ksm/run"


def refuses(monkeypatch, path: str, number: int = errno.EINVAL) -> None:
    """Let every write to a file fail, as a kernel may for reasons of its own."""
    original = EmulatedMachine.write

    def write(self, where, text):
        if where == path:
            raise OSError(number, os.strerror(number), path)
        original(self, where, text)

    monkeypatch.setattr(EmulatedMachine, "write", write)


def shipped(name: str) -> str:
    return str(ROOT / "policies" / f"{name}.yaml")


class Site:
    """One emulated machine, its state directory, and the command line on them."""

    def __init__(self, kernel: str = "7.3") -> None:
        self.kernel = kernel
        self.directory = in_memory_directory()
        self.machine = EmulatedMachine.create(kernel, store=self.directory / "machine")
        self.world = World(self.machine, self.directory)

    @property
    def places(self):
        return self.world.places

    def close(self):
        poisoned = self.machine.poisoned
        shutil.rmtree(self.directory)
        assert not poisoned, "a real kernel would be wrecked"

    def run(self, *arguments: str) -> Outcome:
        """Run a command; whatever it says, it is no traceback."""
        outcome = run_cli(
            "--kernel", f"emulated:{self.kernel}", "--state-dir", self.directory, *arguments
        )
        assert "Traceback" not in outcome.err
        assert "defect" not in outcome.err, outcome.err
        return outcome

    def done(self, *arguments: str) -> Outcome:
        """Run a command that has to succeed."""
        outcome = self.run(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome

    def policy(self, name: str, text: str) -> str:
        """Write a policy file; returns its path."""
        path = self.directory / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    def setting(self, name: str, value: object, path: str = KSM_RUN) -> str:
        """Write a policy of one setting; returns its path."""
        return self.policy(name, SETTING.format(name=name, path=path, value=value))

    def read(self, path: str) -> str:
        return self.machine.read(path).strip()

    def json(self, *arguments: str):
        return self.run(*arguments, "--format", "json").json

    def writes(self, since: int = 0) -> list[tuple[str, str]]:
        """Every attempted write, as the last two parts of its path and its text."""
        return [("/".join(each.path.split("/")[-2:]), each.text) for each in self.machine.log][
            since:
        ]

    def killed(self, matches, *arguments: str):
        """Run a command in a child that is killed right before a write."""
        child = os.fork()
        if child == 0:
            try:
                os.close(1)
                os.close(2)
                machine = EmulatedMachine.create(self.kernel, store=self.directory / "machine")

                def hook(_, path, text):
                    if matches(path, text):
                        os.kill(os.getpid(), signal.SIGKILL)

                machine.before_write = hook
                World(machine, self.directory).apply(*arguments)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child was not killed"
        assert self.places.journal.exists()


def truncated(path: Path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


CHANGING = (
    ("apply", shipped("ksm")),
    ("apply", "--boot"),
    ("confirm",),
    ("rollback", "0"),
    ("recover",),
    ("remove", "ksm"),
    ("stop", "--all"),
)


def starting(path, text):
    """Return whether a write starts a kdamond."""
    return text == "on"
