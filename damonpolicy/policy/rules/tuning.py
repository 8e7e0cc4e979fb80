"""Rules on loops and sources.

A loop moves its own policy's value, within bounds, and nothing twice; a source is of one kind, with
its own keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.kernel.settings import beyond, normalise
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.quotas import UNLIMITED
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.sources import BELONGS, KINDS, Source
from damonpolicy.policy.model.tuning import Tuning
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, Rules, readable, rule

__all__ = ("check", "check_source", "sources_of")


_check_loop = Rules[[Policy, Tuning, Cursor]]()
"""The rules on one loop of a policy."""


@rule
def check(policy: Policy, at: Cursor) -> Findings:
    """Yield the errors in a policy's loops, and in the schemes that its sources name."""
    places = at("tuning")
    for index, loop in enumerate(policy.tuning):
        yield from _check_loop(policy, loop, places(index))
    moved, names = dict[str, int](), dict[str, int]()
    for index, loop in readable(policy.tuning, "setting", "quota", "name"):
        kind = "setting" if loop.setting is not None else "quota"
        knob = None if loop.setting and loop.quota else loop.setting or loop.quota
        for known, key, word, what in (
            (moved, knob, kind, "is moved by two loops"),
            (names, loop.name, "name", "is the name of two loops"),
        ):
            if key in known:
                related = [(places(known[key], "name").value, "the first")]
                span = places(index, word).value
                yield span.error("DP0257", f"`{key}` {what}", "keep one", related=related)
            elif key:
                known[key] = index
    for source, place in sources_of(policy, at):
        yield from _named(policy, source, place)


@_check_loop.add
def _source(_: Policy, loop: Tuning, at: Cursor) -> Findings:
    yield from check_source(loop.from_, at("from"))
    if loop.from_.says("every"):
        message = "a loop reads its number whenever it moves, not `every` so often"
        hint = "remove it here, and write `every:` one level higher"
        yield at("from", "every").key.error("DP0256", message, hint)


@_check_loop.add
def _bounds(_: Policy, loop: Tuning, at: Cursor) -> Findings:
    low, high = loop.bounds.known("min"), loop.bounds.known("max")
    if low == 0 and loop.known("quota") is not None:
        message = "a size of 0 means unlimited to the kernel"
        yield at("bounds", "min").value.error("DP0219", message, "write for example `min: 1MiB`")
    if None not in (low, high) and low >= high:
        message, hint = "`bounds` leave no room to move", "`max` is to be larger than `min`"
        yield at("bounds", "max").value.error("DP0257", message, hint)
    if loop.fall_back is not None and not loop.bounds.min <= loop.fall_back <= loop.bounds.max:
        message = "`fall_back` is outside of `bounds`"
        yield at("fall_back").value.error("DP0257", message, "widen one of them")


@_check_loop.add
def _numbers(_: Policy, loop: Tuning, at: Cursor) -> Findings:
    dead = "with a `dead_band` of 100% a loop stands still up to twice its target"
    none = "0 cannot be a target: nothing is a share of it"
    for name, refused, message, hint in (
        ("step", 0, "with a `step` of 0 nothing moves", "write at least `1%`"),
        ("dead_band", 1, dead, "write for example `5%`"),
        ("target", 0, none, "measure what is missing from the other side"),
    ):
        if loop.known(name) == refused:
            yield at(name).value.error("DP0257", message, hint)
    if loop.known("every", 100_000) < 100_000:
        message = "a loop moves at most ten times a second"
        yield at("every").value.error("DP0257", message, "write `every: 100ms`")
    if loop.target is None and loop.says("effect"):
        message = "`effect` belongs to a `target`: without one the value follows the number"
        yield at("effect").key.error("DP0257", message, "remove `effect`")


@_check_loop.add
def _moved(policy: Policy, loop: Tuning, at: Cursor) -> Findings:
    """Check that the moved value belongs to the policy, and starts within bounds."""
    if loop.setting is not None and loop.quota is None:
        yield from _setting(policy, loop, loop.setting, at)
    elif loop.quota is not None and loop.setting is None:
        yield from _quota(policy, loop, loop.quota, at)
    elif not at.lost:
        both = "both a setting and a quota" if loop.setting is not None else "nothing"
        hint = "write `setting: /sys/…` or `quota: KDAMOND/SCHEME`"
        yield at("name").key.error("DP0257", f"a loop moves one thing, and this names {both}", hint)


@rule
def _setting(policy: Policy, loop: Tuning, path: str, at: Cursor) -> Findings:
    start, place = policy.settings.get(path), at("setting").value
    if start is None:
        if not at.read.cursor("settings", path).lost:
            message = f"`{path[:80]}` is not a setting of this policy"
            hint = "add it to `settings:` with the value to start from"
            yield place.error("DP0257", message, hint)
    elif not normalise(start).isdecimal():
        message = f"`{path[:80]}` starts from `{start[:40]}`, which is not a number"
        yield place.error("DP0257", message, "a loop moves whole numbers")
    else:
        yield from _start(loop, int(normalise(start)), at)
        for key in ("min", "max"):
            number = loop.bounds.known(key)
            if number is not None and (wrong := beyond(path, str(number))):
                message = f"`{path}` cannot be `{number}`"
                yield at("bounds", key).value.error("DP0313", message, wrong)


@rule
def _quota(policy: Policy, loop: Tuning, name: str, at: Cursor) -> Findings:
    place = at("quota")
    if name not in (schemes := _schemes(policy)):
        yield from _unknown(name, place, schemes)
    for scheme in schemes.get(name, ()):
        if scheme.limits.goals:
            message = f"the goals of `{name}` move its quota already"
            yield place.value.error("DP0257", message, "keep one")
        elif scheme.limits.size in (None, UNLIMITED):
            message = f"the quota of `{name}` has no `size` to start from"
            yield place.value.error("DP0257", message, "add `size:` to its quota")
        else:
            yield from _start(loop, scheme.limits.size or 0, at)


@rule
def _start(loop: Tuning, start: int, at: Cursor) -> Findings:
    if not loop.bounds.min <= start <= loop.bounds.max:
        message = f"the loop starts from {start}, which is outside of its bounds"
        yield at("bounds").key.error("DP0257", message, "change the start, or widen the bounds")


def _schemes(policy: Policy) -> dict[str, list[Scheme]]:
    """Return the schemes by `KDAMOND/SCHEME`; alternatives share a name."""
    found: dict[str, list[Scheme]] = {}
    for _, kdamond in readable(policy.kdamonds, "name", "schemes"):
        for _, scheme in readable(kdamond.schemes, "name"):
            found.setdefault(f"{kdamond.name}/{scheme.name}", []).append(scheme)
    return found


@rule
def _unknown(name: str, at: Cursor, known: Iterable[str]) -> Findings:
    if not at.read.cursor("kdamonds").lost:  # else it may be one that could not be read
        message = f"this policy has no scheme `{name[:80]}`"
        hint = did_you_mean(name, known) or "write `KDAMOND/SCHEME`"
        yield at.value.error("DP0257", message, hint)


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
def _named(policy: Policy, source: Source, at: Cursor) -> Findings:
    """Check that a source's scheme is one of the policy's."""
    if source.scheme is not None and source.scheme not in (known := _schemes(policy)):
        yield from _unknown(source.scheme, at("scheme"), known)


@rule
def check_source(source: Source, at: Cursor) -> Findings:
    """Yield the errors in a source."""
    yield from _options(source, at)
    kinds = source.kinds
    if len(kinds) != 1 and not at.lost:
        what = "nothing" if not kinds else "both `" + "` and `".join(kinds[:2]) + "`"
        message = f"a source is one thing, and this names {what}"
        yield at.spot.error("DP0256", message, "one of " + ", ".join(f"`{each}`" for each in KINDS))
        return
    for kind in kinds[:1]:
        needed = KINDS[kind]
        if needed and needed not in source.model_fields_set:
            message = f"`{kind}` does not say which {needed}"
            yield at(kind).key.error("DP0256", message, f"add `{needed}:`")
        if kind == "command" and source.known(kind) == () and not at(kind).lost:
            hint = "write its path and its arguments as a list"
            yield at(kind).value.error("DP0256", "`command` names no program", hint)
        for name, owners in BELONGS.items():
            if source.says(name) and kind not in owners:
                why = ": its numbers have no age" if name == "stale_after" else ""
                message = f"`{kind}` takes no `{name}`{why}"
                yield at(name).key.error("DP0256", message, f"remove `{name}`")


@rule
def _options(source: Source, at: Cursor) -> Findings:
    dated = (source.known("file") or "").startswith(("/proc/", "/sys/"))
    if source.says("stale_after") and dated:  # the kernel makes their content at each read
        message = "files of the kernel have no age: `stale_after` changes nothing"
        yield at("stale_after").key.error("DP0256", message, "remove `stale_after`")
    if source.known("times") == 0:
        message = "`times: 0` makes every number 0"
        yield at("times").value.error("DP0256", message, "write a factor above 0")
    for name in ("every", "stale_after"):
        if source.known(name) == 0:
            yield at(name).value.error("DP0222", f"`{name}` is 0", "write at least `100ms`")
