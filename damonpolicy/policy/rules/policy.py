"""Rules on whole policies, and on several policies together."""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.base.diagnostics import Span, did_you_mean
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.settings import normalise
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor, Read
from damonpolicy.policy.rules import (
    bounds,
    filters,
    idle,
    kdamond,
    modules,
    overlap,
    quotas,
    schemes,
    settings,
    tuning,
)
from damonpolicy.policy.rules.rule import Findings, label, readable, rule

__all__ = ("check", "check_together")

_FILES = ("settings", "modules", "tuning")
"""The parts of a policy that set files that another policy could set."""


@rule
def check(policy: Policy, at: Cursor, *, anywhere: bool = True) -> Findings:
    """Yield the errors in one policy, on any machine.

    ``anywhere`` means that no machine's list of allowed settings will be read.
    """
    yield from _nothing(policy, at)
    yield from settings.check(policy, at("settings"), anywhere=anywhere)
    yield from modules.check(policy, at)
    yield from tuning.check(policy, at)
    yield from _kdamonds(policy, at("kdamonds"))
    yield from idle.check(policy, at)


@rule
def _nothing(policy: Policy, at: Cursor) -> Findings:
    given = any(each.model_fields_set for each in policy.modules.given().values())
    if not (policy.kdamonds or policy.settings or given) and not at.lost:
        message = f"{label('the policy', lambda: policy.name)} does nothing"
        hint = "add `kdamonds:`, `modules:` or `settings:`"
        yield at("name").value.error("DP0238", message, hint)


@rule
def _kdamonds(policy: Policy, at: Cursor) -> Findings:
    yield from _names(policy.kdamonds, at, "kdamond")
    for index, each in enumerate(policy.kdamonds):
        yield from _when(each, at(index, "when"))
        yield from kdamond.check(each, at(index))
        yield from bounds.check_sizes(each, at(index))
        yield from _schemes(each, at(index, "schemes"))


@rule
def _schemes(each: Kdamond, at: Cursor) -> Findings:
    yield from _names(each.schemes, at, "scheme")
    for index, scheme in enumerate(each.schemes):
        place = at(index)
        yield from _when(scheme, place("when"))
        for check_part in (schemes.check, bounds.check, quotas.check, filters.check):
            yield from check_part(scheme, each, place)


@rule
def _names(named: Sequence[Kdamond | Scheme], at: Cursor, what: str) -> Findings:
    """Check that names are unique, except among alternatives of `when`."""
    first: dict[str, int] = {}
    for index, each in readable(named, "name", "when"):
        name = each.name
        if name in first and not (each.when and named[first[name]].when):
            message = f"the {what} `{name}` appears twice"
            hint = (
                "with `for_each`, put the variable into the name"
                if at(index, "name").value == at(first[name], "name").value
                else "choose another name"
            )
            related = [(at(first[name], "name").value, "first here")]
            yield at(index, "name").value.error("DP0223", message, hint, related=related)
        first.setdefault(name, index)


@rule
def _when(part: Kdamond | Scheme, at: Cursor) -> Findings:
    when = part.when
    if when is None:
        return
    if not at.lost and (when.feature is None) == (when.not_ is None):
        hint = "write `when: {feature: NAME}` or `when: {not: NAME}`"
        yield at.value.error("DP0241", "`when` takes either `feature` or `not`", hint)
    known = [feature.name for feature in FEATURES]
    for key, field in (("feature", "feature"), ("not", "not_")):
        name = when.known(field)
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or "`damonpolicy features` lists all"
            yield at(key).value.error("DP0402", f"`{name[:40]}` is not a feature", hint)


@rule
def check_together(reads: Sequence[Read]) -> Findings:
    """Yield conflicts between several policies."""
    yield from _names_together(reads)
    yield from _settings_together(reads)
    yield from modules.check_together(reads)
    yield from overlap.check(reads)


@rule
def _names_together(reads: Sequence[Read]) -> Findings:
    names: dict[str, Span] = {}
    for read in (reads[index] for index, _ in readable([each.policy for each in reads], "name")):
        place = read.cursor("name").value
        if read.policy.name in names:
            message = f"the policy `{read.policy.name}` is in two files"
            related = [(names[read.policy.name], "first here")]
            yield place.error("DP0017", message, "rename one of them", related=related)
        names.setdefault(read.policy.name, place)


@rule
def _settings_together(reads: Sequence[Read]) -> Findings:
    settings: dict[str, tuple[str, Span]] = {}
    known = [reads[index] for index, _ in readable([each.policy for each in reads], *_FILES)]
    tuned = {
        loop.setting: read
        for read in known
        for _, loop in readable(read.policy.tuning, "setting")
        if loop.setting
    }
    hint = "let one of them set it"
    for read in known:
        for path, (value, at) in _files(read).items():
            here = at.value
            if path in settings and normalise(settings[path][0]) != normalise(value):
                message = f"two policies set `{path}` to different values"
                related = [(settings[path][1], "the other one")]
                yield here.error("DP0244", message, hint, related=related)
            elif tuned.get(path, read) is not read:
                message = f"another policy moves `{path}`, so it cannot stay as it is set here"
                yield here.error("DP0244", message, hint)
            settings.setdefault(path, (value, here))


def _files(read: Read) -> dict[str, tuple[str, Cursor]]:
    """Return the files that a policy sets, with their contents and places."""
    found = {path: (value, at) for path, value, at in modules.contents(read.policy, read.cursor)}
    for path, value in read.policy.settings.items():
        found[path] = (value, read.cursor("settings", path))
    return found
