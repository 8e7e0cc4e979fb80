"""Errors before and while a guest runs."""

from __future__ import annotations

__all__ = ("GuestDied", "GuestError", "GuestTimeout", "NeverStarted", "Unavailable", "tail")


def tail(text: str, lines: int = 60) -> str:
    """Return the last lines of a log."""
    return "\n".join(text.splitlines()[-lines:])


class Unavailable(Exception):
    """Real kernels cannot be had on this machine; the message is one line that says why."""


class GuestError(Exception):
    """A guest ended without reporting its command's exit status."""

    exit_code = 125

    def __init__(self, kernel: str, reason: str, *, console: str = "", output: str = "") -> None:
        self.reason = reason
        self.console = console
        self.output = output
        super().__init__(f"{kernel}: {reason}\n{self.details}")

    @property
    def details(self) -> str:
        """What was written before it ended."""
        parts = [f"-- the command's output, its end:\n{tail(self.output)}"] if self.output else []
        parts.append(f"-- console, its end:\n{tail(self.console) or '(empty)'}")
        return "\n".join(parts)


class NeverStarted(GuestError):
    """The guest did not reach our init: worth a second try, unlike all else."""


class GuestDied(GuestError):
    """The guest went down while the command ran: a panic, an oops, or QEMU's end."""


class GuestTimeout(GuestError):
    """The command took longer than it was given."""

    exit_code = 124
