"""Names of applied policies and kdamonds on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.errors import UsageError

__all__ = ("not_applied",)


def not_applied(name: str, applied: Iterable[str], what: str = "policy") -> UsageError:
    """Return the message for a name that is not applied."""
    hint = did_you_mean(name, applied) or "`damonpolicy status` lists what is applied"
    return UsageError(f"no {what} `{name[:127]}` is applied", hint=hint)
