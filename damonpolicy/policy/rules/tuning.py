"""Rules on loops: each moves its own policy's value, within bounds, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.kernel.settings import beyond, normalise
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.quotas import UNLIMITED
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.sources import Source
from damonpolicy.policy.model.tuning import Tuning
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import sources
from damonpolicy.policy.rules.rule import readable, rule

__all__ = ("check", "sources_of")


@rule
def check(policy: Policy, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a policy's loops, and in the schemes that its sources name."""
    places, moved, names = at("tuning"), dict[str, int](), dict[str, int]()
    for index, loop in enumerate(policy.tuning):
        place = places(index)
        yield from _source(loop, place("from"))
        yield from _room(loop, place)
        yield from _unlimited(loop, place)
        yield from _fall_back(loop, place)
        yield from _numbers(loop, place)
        yield from _effect(loop, place)
        yield from _moves(policy, loop, place)
    for index, loop in readable(policy.tuning, "setting", "quota", "name"):
        place = places(index)
        knob = None if loop.setting and loop.quota else loop.setting or loop.quota
        for known, key, what in ((moved, knob, "is moved by two loops"), (names, loop.name,
                                 "is the name of two loops")):  # fmt: skip
            if key in known:
                where = place("name" if known is names else _kind(loop)).value
                first = places(known[key], "name").value
                message = f"`{key}` {what}"
                yield where.error("DP0257", message, "keep one", related=[(first, "the first")])
            elif key:
                known[key] = index
    for source, place in sources_of(policy, at):
        yield from _named(policy, source, place)


@rule
def _source(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    yield from sources.check(loop.from_, at)
    if loop.from_.says("every"):
        message = "a loop reads its number whenever it moves, not `every` so often"
        hint = "remove it here, and write `every:` one level higher"
        yield at("every").key.error("DP0256", message, hint)


def _kind(loop: Tuning) -> str:
    return "setting" if loop.setting is not None else "quota"


@rule
def _room(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    if loop.bounds.min >= loop.bounds.max:
        message = "`bounds` leave no room to move"
        yield at("bounds", "max").value.error("DP0257", message, "`max` is to be larger than `min`")


@rule
def _unlimited(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    if loop.quota is not None and loop.bounds.min == 0:
        message = "a size of 0 means unlimited to the kernel"
        yield at("bounds", "min").value.error("DP0219", message, "write for example `min: 1MiB`")


@rule
def _fall_back(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    bounds = loop.bounds
    if loop.fall_back is not None and not bounds.min <= loop.fall_back <= bounds.max:
        message = "`fall_back` is outside of `bounds`"
        yield at("fall_back").value.error("DP0257", message, "widen one of them")


@rule
def _numbers(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    known = loop.known
    if known("step") == 0:
        message = "with a `step` of 0 nothing moves"
        yield at("step").value.error("DP0257", message, "write at least `1%`")
    if known("dead_band") == 1:
        message = "with a `dead_band` of 100% a loop stands still up to twice its target"
        yield at("dead_band").value.error("DP0257", message, "write for example `5%`")
    if known("target") == 0:
        message = "0 cannot be a target: nothing is a share of it"
        hint = "measure what is missing from the other side"
        yield at("target").value.error("DP0257", message, hint)
    if known("every", 100_000) < 100_000:
        message = "a loop moves at most ten times a second"
        yield at("every").value.error("DP0257", message, "write `every: 100ms`")


@rule
def _effect(loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    if loop.target is None and loop.says("effect"):
        message = "`effect` belongs to a `target`: without one the value follows the number"
        yield at("effect").key.error("DP0257", message, "remove `effect`")


@rule
def _moves(policy: Policy, loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    """Check that the moved value belongs to the policy, and starts within bounds."""
    if (loop.setting is None) == (loop.quota is None):
        if at.lost:
            return
        both = "both a setting and a quota" if loop.setting is not None else "nothing"
        hint = "write `setting: /sys/…` or `quota: KDAMOND/SCHEME`"
        yield at("name").key.error("DP0257", f"a loop moves one thing, and this names {both}", hint)
    elif loop.setting is not None:
        start = policy.settings.get(loop.setting)
        if start is None and at.read.cursor("settings", loop.setting).lost:
            return
        if start is None:
            message = f"`{loop.setting[:80]}` is not a setting of this policy"
            hint = "add it to `settings:` with the value to start from"
            yield at("setting").value.error("DP0257", message, hint)
        elif not normalise(start).isdecimal():
            message = f"`{loop.setting[:80]}` starts from `{start[:40]}`, which is not a number"
            yield at("setting").value.error("DP0257", message, "a loop moves whole numbers")
        else:
            yield from _start(loop, int(normalise(start)), at)
            yield from _limits(loop.setting, loop, at)
    else:
        schemes = _schemes(policy)
        for name, scheme in schemes.get(str(loop.quota), [("", None)]):
            if scheme is None and at.read.cursor("kdamonds").lost:
                return  # it may be one of those that could not be read
            if scheme is None:
                yield _unknown(str(loop.quota), at("quota"), list(schemes))
            elif scheme.limits.goals:
                message = f"the goals of `{name}` move its quota already"
                yield at("quota").value.error("DP0257", message, "keep one")
            elif scheme.limits.size in (None, UNLIMITED):
                message = f"the quota of `{name}` has no `size` to start from"
                yield at("quota").value.error("DP0257", message, "add `size:` to its quota")
            else:
                yield from _start(loop, scheme.limits.size or 0, at)


@rule
def _start(loop: Tuning, start: int, at: Cursor) -> Iterator[Diagnostic]:
    if not loop.bounds.min <= start <= loop.bounds.max:
        message = f"the loop starts from {start}, which is outside of its bounds"
        yield at("bounds").key.error("DP0257", message, "change the start, or widen the bounds")


@rule
def _limits(path: str, loop: Tuning, at: Cursor) -> Iterator[Diagnostic]:
    """Check that the file accepts the bounds, and that `fall_back` lies between them."""
    for key in ("min", "max"):
        number = loop.bounds.known(key)
        if number is None:
            continue
        if wrong := beyond(path, str(number)):
            yield at("bounds", key).value.error("DP0313", f"`{path}` cannot be `{number}`", wrong)


def _schemes(policy: Policy) -> dict[str, list[tuple[str, Scheme | None]]]:
    """Return the schemes by `KDAMOND/SCHEME`; alternatives share a name."""
    found: dict[str, list[tuple[str, Scheme | None]]] = {}
    for _, kdamond in readable(policy.kdamonds, "name", "schemes"):
        for _, scheme in readable(kdamond.schemes, "name"):
            name = f"{kdamond.name}/{scheme.name}"
            found.setdefault(name, []).append((name, scheme))
    return found


def _unknown(name: str, at: Cursor, known: list[str]) -> Diagnostic:
    message = f"this policy has no scheme `{name[:80]}`"
    return at.value.error("DP0257", message, did_you_mean(name, known) or "write `KDAMOND/SCHEME`")


def sources_of(policy: Policy, at: Cursor) -> Iterator[tuple[Source, Cursor]]:
    """Yield every source of a policy: those of its loops, and those of its goals."""
    for index, loop in readable(policy.known("tuning", ()), "from_"):
        yield loop.from_, at("tuning", index, "from")
    for index, kdamond in readable(policy.known("kdamonds", ()), "schemes"):
        for number, scheme in readable(kdamond.schemes, "limits"):
            place = at("kdamonds", index, "schemes", number, "quota", "goals")
            for order, goal in readable(scheme.limits.known("goals", ()), "from_"):
                if goal.from_ is not None:
                    yield goal.from_, place(order, "from")


@rule
def _named(policy: Policy, source: Source, at: Cursor) -> Iterator[Diagnostic]:
    """Check that a source's scheme is one of the policy's."""
    if source.scheme is not None and source.scheme not in (known := _schemes(policy)):
        if at.read.cursor("kdamonds").lost:
            return  # it may be one of those that could not be read
        yield _unknown(source.scheme, at("scheme"), list(known))
