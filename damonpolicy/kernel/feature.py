"""One thing that kernels may have, and short ways to write down what is of one kind.

Paths are those of `tree.pattern`: below the kdamonds directory, with ``*`` for numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = (
    "ATTRIBUTES",
    "CONTEXT",
    "DEVELOPMENT",
    "EMULATED",
    "QUOTAS",
    "REGIONS",
    "SCHEME",
    "Feature",
    "action",
    "below",
    "filter_type",
    "goal",
    "module",
    "probe",
    "sample",
)

CONTEXT = "*/contexts/*"
ATTRIBUTES = f"{CONTEXT}/monitoring_attrs"
SCHEME = f"{CONTEXT}/schemes/*"
QUOTAS = f"{SCHEME}/quotas"
REGIONS = f"{SCHEME}/tried_regions"

DEVELOPMENT = "damon/next"
"""In no released kernel: only in the development tree."""

EMULATED = "DAMONPOLICY_EMULATED"
"""Emulated kernels name themselves so, and features for which real kernels have no name."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that some kernels have.

    ``files`` are complete patterns; ``results`` those of files that only report;
    ``words`` are pairs of a pattern and a word that its file takes; ``btf`` is a name as
    `btf.damon_names` gives it, seen in a real kernel's (tests/kernel/observed/btf-*.txt), or
    empty; ``since`` a version or `DEVELOPMENT`.
    """

    name: str
    what: str
    since: str
    commit: str = ""
    files: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    btf: str = ""
    results: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """The name that tells of it: the kernel's, else one that only emulated kernels have."""
        return self.btf or f"{EMULATED}.{self.name}"


def goal(metric: str, since: str, commit: str) -> Feature:
    """Return the feature of a metric of quota goals."""
    return Feature(
        f"quota.goal.{metric}",
        f"quota goals on {metric}",
        since,
        commit,
        words=((f"{QUOTAS}/goals/*/target_metric", metric),),
        btf=f"DAMOS_QUOTA_{metric.upper()}",
    )


def filter_type(name: str, since: str, commit: str = "", *, seen: bool = True) -> Feature:
    """Return the feature of a type of DAMOS filters."""
    return Feature(
        f"filter.{name}",
        f"DAMOS filters on {name}",
        since,
        commit,
        words=((f"{SCHEME}/filters/*/type", name),),
        btf=f"DAMOS_FILTER_TYPE_{name.upper()}" if seen else "",
    )


def action(name: str, since: str, commit: str) -> Feature:
    """Return the feature of an action."""
    return Feature(
        f"action.{name}",
        f"the action {name}",
        since,
        commit,
        words=((f"{SCHEME}/action", name),),
        btf=f"DAMOS_{name.upper()}",
    )


def probe(name: str, what: str, since: str, commit: str = "", *, seen: bool = True) -> Feature:
    """Return the feature of a type of conditions in probes."""
    return Feature(
        f"probe.{name}",
        what,
        since,
        commit,
        words=((f"{ATTRIBUTES}/probes/*/filters/*/type", name),),
        btf=f"DAMON_FILTER_TYPE_{name.upper()}" if seen else "",
    )


def sample(name: str, word: str, what: str) -> Feature:
    """Return the feature of a type of conditions on which accesses count."""
    return Feature(
        f"sample.{name}",
        what,
        DEVELOPMENT,
        words=((f"{ATTRIBUTES}/sample/filters/*/type", word),),
        btf=f"DAMON_FILTER_TYPE_{word.upper()}",
    )


def module(which: str, name: str, what: str, since: str, *parameters: str) -> Feature:
    """Return the feature of parameters of a module."""
    files = below(f"/sys/module/damon_{which}/parameters", *parameters)
    return Feature(f"module.{which}{name}", what, since, files=files)


def below(directory: str, *names: str) -> tuple[str, ...]:
    """Return the paths of files in a directory."""
    return tuple(f"{directory}/{name}" for name in names)
