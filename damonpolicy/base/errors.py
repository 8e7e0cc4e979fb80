"""The one error tree, and the one table of exit codes."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damonpolicy.base.diagnostics import Diagnostic

__all__ = (
    "Busy",
    "DamonPolicyError",
    "ExitCode",
    "Foreign",
    "Interrupted",
    "KernelLacks",
    "LockHeld",
    "NoPermission",
    "PolicyInvalid",
    "RollbackIncomplete",
    "RolledBack",
    "StalePlan",
    "UsageError",
    "as_root",
    "defect",
    "reason_of",
    "system_error",
)


class ExitCode(IntEnum):
    """The exit codes of a process; 64 to 77 keep the meanings of sysexits.h."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    USAGE = 64
    INVALID = 65
    UNSUPPORTED = 69
    INTERNAL = 70
    FOREIGN = 71
    STALE = 72
    LOCKED = 73
    BUSY = 75
    NO_PERMISSION = 77
    ROLLED_BACK = 80
    ROLLBACK_INCOMPLETE = 81
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for the reference page and for ``--help``."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done, or nothing to do",
    ExitCode.FAILED: "failed before anything was changed",
    ExitCode.CHANGES: "changes are pending (`plan`), or the machine drifted (`diff`)",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.INVALID: "a policy is invalid, or names what is not on this machine",
    ExitCode.UNSUPPORTED: "the kernel lacks something that the policy needs",
    ExitCode.INTERNAL: "a defect of damonpolicy",
    ExitCode.FOREIGN: "a kdamond or module of someone else is in the way",
    ExitCode.STALE: "the saved plan no longer fits the machine",
    ExitCode.LOCKED: "another damonpolicy is changing the machine",
    ExitCode.BUSY: "the kernel is busy, or a change waits for `confirm`",
    ExitCode.NO_PERMISSION: "no permission",
    ExitCode.ROLLED_BACK: "failed or interrupted, and rolled back",
    ExitCode.ROLLBACK_INCOMPLETE: "failed, and not everything could be rolled back",
    ExitCode.INTERRUPTED: "interrupted before anything was changed",
}


class DamonPolicyError(Exception):
    """Anything that ends a command; ``message`` is one sentence without a full stop."""

    exit_code = ExitCode.FAILED
    can_retry = False
    undone = False
    """Whether the change was begun, and undone as far as possible."""
    code = "DP0500"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        code: str = "",
        diagnostics: Sequence[Diagnostic] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.diagnostics = tuple(diagnostics)
        self.about: tuple[tuple[str, str], ...] = ()
        """Names of the policies or kdamonds, with the parts concerned, best first."""
        self.also: tuple[DamonPolicyError, ...] = ()
        """Further, unrelated errors of the same step."""


class UsageError(DamonPolicyError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE
    code = "DP0501"


class PolicyInvalid(DamonPolicyError):
    """At least one policy has an error; ``diagnostics`` holds all of them."""

    exit_code = ExitCode.INVALID
    code = "DP0502"


class KernelLacks(DamonPolicyError):
    """The kernel lacks what the policy needs, or DAMON altogether."""

    exit_code = ExitCode.UNSUPPORTED
    code = "DP0503"


class Foreign(DamonPolicyError):
    """A kdamond or module of someone else is in the way."""

    exit_code = ExitCode.FOREIGN
    code = "DP0504"


class StalePlan(DamonPolicyError):
    """The machine has moved since the plan was saved."""

    exit_code = ExitCode.STALE
    code = "DP0505"


class LockHeld(DamonPolicyError):
    """Another damonpolicy is changing the machine."""

    exit_code = ExitCode.LOCKED
    can_retry = True
    code = "DP0506"


class Busy(DamonPolicyError):
    """The kernel is busy, or an earlier change waits for its confirmation."""

    exit_code = ExitCode.BUSY
    can_retry = True
    code = "DP0507"


class NoPermission(DamonPolicyError):
    """The caller may not read or write DAMON's files."""

    exit_code = ExitCode.NO_PERMISSION
    code = "DP0508"


class RolledBack(DamonPolicyError):
    """The transaction failed half-way and everything is as it was."""

    exit_code = ExitCode.ROLLED_BACK
    code = "DP0509"


class RollbackIncomplete(DamonPolicyError):
    """The transaction failed and something could not be put back; the journal is kept."""

    exit_code = ExitCode.ROLLBACK_INCOMPLETE
    undone = True
    code = "DP0510"


class Interrupted(DamonPolicyError):
    """A signal came before anything was changed."""

    exit_code = ExitCode.INTERRUPTED
    can_retry = True
    code = "DP0511"


class _Defect(DamonPolicyError):
    exit_code = ExitCode.INTERNAL
    code = "DP0599"


def defect(error: Exception) -> DamonPolicyError:
    """Describe an unexpected error, and where it was raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = ""
    if frame is not None:
        name = os.path.basename(frame.tb_frame.f_code.co_filename)
        where = f" at {name}:{frame.tb_lineno}"
    hint = "please report it, with the command and `DAMONPOLICY_DEBUG=1` in the environment"
    return _Defect(f"a defect of damonpolicy: {type(error).__name__}{where}: {error}", hint=hint)


def reason_of(error: OSError) -> str:
    """Return the system's message, as the end of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def as_root() -> str:
    """Return the hint for users who lack root's rights."""
    if os.geteuid():
        return "run as root"
    return "root may not either: leave the container, or see the log of the security module"


def system_error(error: OSError, before: str = "") -> DamonPolicyError:
    """Return our error for a system error, with a text before its own message."""
    where = f"`{error.filename}`: " if error.filename else ""
    message = f"{before}{where}{reason_of(error)}"
    if error.errno == errno.EBUSY:
        return Busy(message, hint="another program holds DAMON's lock: try again")
    if isinstance(error, PermissionError):
        return NoPermission(message, hint=as_root())
    return DamonPolicyError(message)
