"""Compilation of loops: ``tuning:``, goals that this kernel lacks, ages of tuned intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.plan.ir import CompiledKdamond, Loop
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.sources import Source
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.tuning import sources_of

__all__ = ("age", "compile_loops", "goals", "source", "uncounted")

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


def compile_loops(policy: Policy, kdamonds: Iterable[CompiledKdamond]) -> tuple[Loop, ...]:
    """Compile ``tuning:``; a loop on a scheme that this kernel's alternative lacks is left out."""
    places = {
        f"{kdamond.name}/{scheme}": (kdamond.name, directory)
        for kdamond in kdamonds
        for directory, scheme in kdamond.names.items()
    }
    found = []
    for each in policy.tuning:
        kdamond, path = "", str(each.setting)
        if each.quota is not None:
            if each.quota not in places:
                continue
            kdamond, directory = places[each.quota]
            path = f"{directory}/quotas/bytes"
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
        found.append(
            Loop(each.name, kdamond, path, law, (source(each.from_, policy.name),), each.every)
        )
    return tuple(found)


def goals(
    name: str, kdamond: str, directory: str, cap: int, tuner: str, every: int,
    measured: Iterable[tuple[int, Mapping[str, Any]]],
) -> Loop:  # fmt: skip
    """Return the loop that replaces the kernel's goals: it moves a quota's size up to ``cap``.

    ``measured`` are the targets, and the sources of the numbers that should reach them.
    """
    pairs = list(measured)
    law = {"law": "goals", "cap": cap, "tuner": tuner, "targets": [each for each, _ in pairs],
           "start": _FIRST}  # fmt: skip
    sources = tuple(each for _, each in pairs)
    return Loop(name, kdamond, f"{directory}/quotas/bytes", law, sources, every)


def age(name: str, kdamond: str, path: str, time: int, start: int, of: str, *, least: bool) -> Loop:
    """Return the loop that keeps an age at ``time`` microseconds while aggregations are tuned.

    ``start`` is its count of aggregations before any tuning; ``of`` the kdamond's full name;
    ``least`` marks the lower bound.
    """
    law = {"law": "age", "time": time, "start": str(start), "least": least}
    return Loop(name, kdamond, path, law, ({"aggregation": of},), _AGES_EVERY)
