"""The one error tree, and the one table of exit codes."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Self

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

    meaning: str
    """One line for the reference page and for ``--help``."""

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member of a code and its meaning."""
        member = int.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    OK = 0, "done, or nothing to do"
    FAILED = 1, "failed before anything was changed"
    CHANGES = 2, "changes are pending (`plan`), or the machine drifted (`diff`)"
    USAGE = 64, "the command line is wrong"
    INVALID = 65, "a policy is invalid, or names what is not on this machine"
    UNSUPPORTED = 69, "the kernel lacks something that the policy needs"
    INTERNAL = 70, "a defect of damonpolicy"
    FOREIGN = 71, "a kdamond or module of someone else is in the way"
    STALE = 72, "the saved plan no longer fits the machine"
    LOCKED = 73, "another damonpolicy is changing the machine"
    BUSY = 75, "the kernel is busy, or a change waits for `confirm`"
    NO_PERMISSION = 77, "no permission"
    ROLLED_BACK = 80, "failed or interrupted, and rolled back"
    ROLLBACK_INCOMPLETE = 81, "failed, and not everything could be rolled back"
    INTERRUPTED = 130, "interrupted before anything was changed"


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

    def __init_subclass__(cls, exit_code: ExitCode | None = None, code: str = "") -> None:
        """Give a class its codes; without, it has those of the class above."""
        cls.exit_code, cls.code = exit_code or cls.exit_code, code or cls.code


class UsageError(DamonPolicyError, exit_code=ExitCode.USAGE, code="DP0501"):
    """The command line is wrong."""


class PolicyInvalid(DamonPolicyError, exit_code=ExitCode.INVALID, code="DP0502"):
    """At least one policy has an error; ``diagnostics`` holds all of them."""


class KernelLacks(DamonPolicyError, exit_code=ExitCode.UNSUPPORTED, code="DP0503"):
    """The kernel lacks what the policy needs, or DAMON altogether."""


class Foreign(DamonPolicyError, exit_code=ExitCode.FOREIGN, code="DP0504"):
    """A kdamond or module of someone else is in the way."""


class StalePlan(DamonPolicyError, exit_code=ExitCode.STALE, code="DP0505"):
    """The machine has moved since the plan was saved."""


class LockHeld(DamonPolicyError, exit_code=ExitCode.LOCKED, code="DP0506"):
    """Another damonpolicy is changing the machine."""

    can_retry = True


class Busy(DamonPolicyError, exit_code=ExitCode.BUSY, code="DP0507"):
    """The kernel is busy, or an earlier change waits for its confirmation."""

    can_retry = True


class NoPermission(DamonPolicyError, exit_code=ExitCode.NO_PERMISSION, code="DP0508"):
    """The caller may not read or write DAMON's files."""


class RolledBack(DamonPolicyError, exit_code=ExitCode.ROLLED_BACK, code="DP0509"):
    """The transaction failed half-way and everything is as it was."""


class RollbackIncomplete(DamonPolicyError, exit_code=ExitCode.ROLLBACK_INCOMPLETE, code="DP0510"):
    """The transaction failed and something could not be put back; the journal is kept."""

    undone = True


class Interrupted(DamonPolicyError, exit_code=ExitCode.INTERRUPTED, code="DP0511"):
    """A signal came before anything was changed."""

    can_retry = True


class _Defect(DamonPolicyError, exit_code=ExitCode.INTERNAL, code="DP0599"):
    """An error that nobody foresaw."""


def defect(error: Exception) -> DamonPolicyError:
    """Describe an unexpected error, and where it was raised."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
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
