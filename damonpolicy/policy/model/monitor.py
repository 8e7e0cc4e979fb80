"""The scheme that `--monitor` adds: it only counts, and reports ask it for regions."""

from __future__ import annotations

from damonpolicy.policy.model.access_pattern import AccessPattern
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.schemes import Scheme

__all__ = ("NAME", "monitored")

NAME = "monitor"


def monitored(policy: Policy) -> Policy:
    """Return the policy with a scheme for all memory in each kdamond that has none.

    It comes last: a commit matches schemes by position, so the others keep theirs.
    """
    kdamonds = tuple(
        each
        if any(map(_sees_all, each.schemes))
        else each.model_copy(update={"schemes": (*each.schemes, _scheme(each))})
        for each in policy.kdamonds
    )
    return policy.model_copy(update={"kdamonds": kdamonds})


def _sees_all(scheme: Scheme) -> bool:
    everything = scheme.access_pattern == AccessPattern()
    return scheme.action == "stat" and everything and not (scheme.filters or scheme.watermarks)


def _scheme(kdamond: Kdamond) -> Scheme:
    taken = {each.name for each in kdamond.schemes}
    names = (NAME, *(f"{NAME}-{number}" for number in range(2, len(taken) + 3)))
    return Scheme(name=next(each for each in names if each not in taken), action="stat")
