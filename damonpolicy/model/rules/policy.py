"""Rules on whole policies, and on several policies together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from damonpolicy.diagnostics import Diagnostic, Span, did_you_mean
from damonpolicy.kernel.features import FEATURES
from damonpolicy.kernel.settings import normalise
from damonpolicy.model.policy import Policy
from damonpolicy.model.read import Cursor, Read
from damonpolicy.model.rules import (
    filters,
    kdamond,
    modules,
    quotas,
    schemes,
    settings,
    tuning,
    twice,
)
from damonpolicy.model.schemes import When

__all__ = ("check", "check_together")


def check(policy: Policy, at: Cursor, *, anywhere: bool = True) -> Iterator[Diagnostic]:
    """Yield what is wrong with one policy, on whatever machine.

    ``anywhere`` tells that no machine will be asked which settings root allows.
    """
    given = any(each.model_fields_set for each in policy.modules.given().values())
    if not (policy.kdamonds or policy.settings or given) and not at.lost:
        message = f"the policy `{policy.name}` does nothing"
        hint = "add `kdamonds:`, `modules:` or `settings:`"
        yield Diagnostic.error("DP0238", at("name").value, message, hint=hint)
    yield from settings.check(policy, at("settings"), anywhere=anywhere)
    yield from modules.check(policy, at)
    yield from tuning.check(policy, at)
    places = at("kdamonds")
    yield from _names([(each.name, each.when) for each in policy.kdamonds], places, "kdamond")
    for index, each in enumerate(policy.kdamonds):
        yield from _when(each.when, places(index, "when"))
        yield from kdamond.check(each, places(index))
        inner = places(index, "schemes")
        yield from _names([(one.name, one.when) for one in each.schemes], inner, "scheme")
        for number, scheme in enumerate(each.schemes):
            place = inner(number)
            yield from _when(scheme.when, place("when"))
            yield from schemes.check(scheme, each, place)
            yield from quotas.check(scheme, each, place)
            yield from filters.check(scheme, each, place)


def _names(named: Sequence[tuple[str, When | None]], at: Cursor, what: str) -> Iterator[Diagnostic]:
    """Names are unique, but for alternatives that `when` chooses between."""
    first: dict[str, int] = {}
    for index, (name, when) in enumerate(named):
        if name in first and not (when and named[first[name]][1]):
            yield Diagnostic.error(
                "DP0223",
                at(index, "name").value,
                f"the {what} `{name}` stands twice",
                hint="with `for_each`, put the variable into the name"
                if at(index, "name").value == at(first[name], "name").value
                else "choose another name",
                related=[(at(first[name], "name").value, "first here")],
            )
        first.setdefault(name, index)


def _when(when: When | None, at: Cursor) -> Iterator[Diagnostic]:
    if when is None or at.lost:
        return
    if (when.feature is None) == (when.not_ is None):
        message = "`when` takes either `feature` or `not`"
        hint = "write `when: {feature: NAME}` or `when: {not: NAME}`"
        yield Diagnostic.error("DP0241", at.value, message, hint=hint)
    known = [feature.name for feature in FEATURES]
    for key, name in (("feature", when.feature), ("not", when.not_)):
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or "`damonpolicy features` lists all"
            message = f"`{name[:40]}` is not a feature"
            yield Diagnostic.error("DP0402", at(key).value, message, hint=hint)


def check_together(reads: Sequence[Read]) -> Iterator[Diagnostic]:
    """Yield what several policies disagree about."""
    names: dict[str, Span] = {}
    settings: dict[str, tuple[str, Span]] = {}
    tuned = {loop.setting: read for read in reads for loop in read.policy.tuning if loop.setting}
    for read in reads:
        place = read.cursor("name").value
        if read.policy.name in names:
            yield Diagnostic.error(
                "DP0017",
                place,
                f"the policy `{read.policy.name}` stands in two files",
                hint="rename one of them",
                related=[(names[read.policy.name], "first here")],
            )
        names.setdefault(read.policy.name, place)
        files = [
            *(
                (path, value, read.cursor("settings", path))
                for path, value in read.policy.settings.items()
            ),
            *(
                each
                for each in modules.contents(read.policy, read.cursor)
                if each[0] not in read.policy.settings  # said at its own place
            ),
        ]
        for path, value, at in files:
            here = at.value
            if path in settings and normalise(settings[path][0]) != normalise(value):
                yield Diagnostic.error(
                    "DP0244",
                    here,
                    f"two policies set `{path}` to different values",
                    hint="let one of them set it",
                    related=[(settings[path][1], "the other one")],
                )
            elif tuned.get(path, read) is not read:
                message = f"another policy moves `{path}`, so it cannot stay as it is set here"
                hint = "let one of them set it"
                yield Diagnostic.error("DP0244", here, message, hint=hint)
            settings.setdefault(path, (value, here))
    yield from modules.check_together(reads)
    yield from twice.check(reads)
