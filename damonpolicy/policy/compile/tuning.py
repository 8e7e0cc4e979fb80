"""Compilation of loops: ``tuning:``, goals that this kernel lacks, ages of tuned intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.plan.ir import CompiledKdamond, Loop
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.quotas import read_target
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.sources import Source
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.tuning import sources_of

__all__ = ("SECOND", "ages", "compile_loops", "goals", "source", "uncounted")

SECOND = 1_000_000
"""The window of a quota that names none, in microseconds."""
_AGES_EVERY = 10_000_000
"""Microseconds between two looks at tuned intervals."""
_FIRST = "1"
"""The initial bytes of a quota that goals tune, as in the kernel: 0 is unlimited."""


def source(given: Source, policy: str) -> dict[str, Any]:
    """Return a source as plain data; a scheme is named with its policy."""
    data = dict(given.plain())
    if given.scheme is not None:
        data["scheme"] = f"{policy}/{given.scheme}"
    return data


def uncounted(policy: Policy, at: Cursor, capabilities: Capabilities) -> Iterator[Diagnostic]:
    """Yield the statistics that this kernel does not have."""
    feature = "scheme.filter_passed"
    for given, place in sources_of(policy, at):
        passed = given.known("statistic") == "passed" and given.known("scheme")
        if passed and not capabilities.has(feature):
            message = "this kernel does not count what passes filters"
            hint = first_kernel(feature)
            span = place("statistic").value
            yield Diagnostic.error("DP0401", span, message, hint=hint, unsupported=True)


def compile_loops(policy: Policy, kdamonds: Iterable[CompiledKdamond]) -> Iterator[Loop]:
    """Compile ``tuning:``; a loop on a scheme that this kernel's alternative lacks is left out."""
    places = {
        f"{kdamond.name}/{scheme}": (kdamond.name, directory)
        for kdamond in kdamonds
        for directory, scheme in kdamond.names.items()
    }
    for each in policy.tuning:
        kdamond, path = "", str(each.setting)
        if each.quota is not None:
            if each.quota not in places:
                continue
            kdamond, directory = places[each.quota]
            path = view.Scheme(path=directory).quota.size.path
        low, high = each.bounds.min, each.bounds.max
        law = {
            "law": "follow" if each.target is None else "approach",
            "least": str(low),
            "most": str(high),
            "step": str(each.step),
            "dead_band": str(each.dead_band),
            "target": str(each.target or 0),
            "raises": each.effect == "raises",
            "fall_back": low if each.fall_back is None else each.fall_back,
            "fall_back_after": each.fall_back_after,
        }
        yield Loop(each.name, kdamond, path, law, (source(each.from_, policy.name),), each.every)


def goals(policy: str, kdamond: Kdamond, scheme: Scheme, size: str) -> Loop:
    """Return the loop that replaces the kernel's goals: it moves a quota's file ``size``."""
    quota = scheme.limits
    law = {
        "law": "goals",
        "cap": quota.size or 0,
        "tuner": quota.tuner_name,
        "targets": [read_target(each) for each in quota.goals],
        "start": _FIRST,
    }
    sources = tuple(
        {"metric": each.metric, "node": each.node, "complement": each.complement}
        if each.from_ is None
        else source(each.from_, policy)
        for each in quota.goals
    )
    name, every = f"{kdamond.name}/{scheme.name}", quota.every or SECOND
    return Loop(name, kdamond.name, size, law, sources, every)


def ages(
    policy: str, kdamond: Kdamond, scheme: Scheme, counts: Mapping[str, str], own: view.Range
) -> Iterator[Loop]:
    """Yield the loops that keep ages at their times while aggregations are tuned.

    ``counts`` has the counts of aggregations before any tuning.
    """
    age, of = scheme.access_pattern.age, f"{policy}/{kdamond.name}"
    for side, bound, path in (("min", age.min, own.min.path), ("max", age.max, own.max.path)):
        if bound is not None and not bound.aggregations:
            start, least = counts[path], side == "min"
            law = {"law": "age", "time": bound.value, "start": start, "least": least}
            name = f"{kdamond.name}/{scheme.name}/age.{side}"
            yield Loop(name, kdamond.name, path, law, ({"aggregation": of},), _AGES_EVERY)
