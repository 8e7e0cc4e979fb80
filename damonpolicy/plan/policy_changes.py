"""Changes of a policy that change no file of the kernel, which a plan describes in words.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from damonpolicy.base.units import format_duration
from damonpolicy.plan.ir import CompiledKdamond, CompiledPolicy, by_name

__all__ = ("of_kdamond", "of_policies")


def of_kdamond(
    name: str, managed: Mapping[str, CompiledPolicy], after: CompiledKdamond
) -> Iterator[str]:
    """Yield the changes of a kdamond that is managed already."""
    before = by_name(managed).get(name)
    if before is None:
        return
    if before.temperature != after.temperature:
        was, now = (_weights(each.temperature) for each in (before, after))
        yield f"`temperature` becomes {now} (was {was}): reports use it"
    # otherwise it follows from goals, which are files and shown
    if before.commit_every != after.commit_every and before.files == after.files:
        was, now = (format_duration(each.commit_every) for each in (before, after))
        yield f"`commit_every` becomes {now} (was {was}): the service uses it"
    if before.wait != after.wait:
        words = {True: "wait", False: "fail"}
        yield f"`when_absent` becomes `{words[after.wait]}` (was `{words[before.wait]}`)"
    if before.feeds != after.feeds:
        yield "goals get their values from elsewhere: the service uses it"


def _weights(weights: tuple[int, int, int] | None) -> str:
    if weights is None:
        return "the default"
    return "size {}, access_rate {}, age {}".format(*weights)


def of_policies(
    before: Mapping[str, CompiledPolicy],
    after: Mapping[str, CompiledPolicy],
    affected: Collection[str],
) -> Iterator[str]:
    """Yield the changes of managed policies that are applied again."""
    for name in affected:
        if name not in before or name not in after or before[name] == after[name]:
            continue
        old, new = before[name], after[name]
        if old.repairs != new.repairs:
            yield f"`on_drift` of `{name}` becomes `{'repair' if new.repairs else 'report'}`"
        if old.loops != new.loops:
            yield f"loops of `{name}` change: the service uses it"
        if replace(old, source=new.source, variables=new.variables) == new:
            yield f"only the text of `{name}` changes, nothing that it means"
