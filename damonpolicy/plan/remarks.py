"""What a plan says in words: changes that change no file of the kernel, and what a rename loses.

A kdamond with only a new name is adopted while it runs. One that differs in more cannot be matched,
so it starts over. Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from damonpolicy.base.units import format_duration
from damonpolicy.kernel.damon.tree import Tree, differing
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.plan.bind import Bound, Waits
from damonpolicy.plan.ir import CompiledKdamond, CompiledPolicy, by_name
from damonpolicy.plan.online import has_goals

__all__ = ("lost", "of_kdamond", "of_policies")


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


def lost(
    ending: Mapping[str, Tree], bound: Mapping[str, Bound | Waits], starting: Iterable[str]
) -> dict[str, str]:
    """Return the remarks about kdamonds that start, by name.

    ``ending`` is what was committed to running kdamonds that end, by name; each is lost once.
    """
    left = dict(ending)
    said = {}
    for name in starting:
        new = bound[name]
        if isinstance(new, Waits):
            continue
        old = next((each for each, ran in left.items() if _looks(ran) == _looks(new.files)), None)
        if old is None:
            continue
        ran = left.pop(old)
        tuned = " and tuned quotas" if has_goals(ran) else ""
        changed = differing(ran, new.files)
        keeps = " (renamed first and changed later, it would go on)" if changed else ""
        said[name] = (
            f"`{old}` has the same targets and ends: its monitoring results{tuned} start over{keeps}"
        )
    return said


def _looks(tree: Tree) -> dict[str, str]:
    kdamond = Kdamond(tree)
    return {
        path: value
        for path, value in tree.items()
        if path == kdamond.ops.path or kdamond.targets.holds(path)
    }
