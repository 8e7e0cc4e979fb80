"""Sources of numbers with which the service feeds goals and runs loops."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from damonpolicy.base.units import UnitError
from damonpolicy.policy.model.scalars import Duration, Model, SomeText, Text, Unread, scalar
from damonpolicy.policy.model.targets import Cgroup

__all__ = ("KINDS", "Source")


def _factor(text: str) -> Fraction:
    if not re.fullmatch(_FACTOR, text):
        raise UnitError("DP0113", f"`{text[:40]}` is not a number", "write for example `0.5`")
    return Fraction(text)


_FACTOR = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_POSITIVE = {"type": "number", "minimum": 0, "exclusiveMaximum": 10**18}
Factor: TypeAlias = Annotated[
    Fraction, *scalar(_factor, _FACTOR, number=_POSITIVE, example="10000")
]


def _ksm_file(text: str) -> str:
    if not re.fullmatch(_KSM_FILE, text):
        message = f"`{text[:40]}` is not a file of /sys/kernel/mm/ksm"
        raise UnitError("DP0370", message, "write its name, such as `pages_sharing`")
    return text


_KSM_FILE = "[a-z][a-z0-9_]*"
KsmFile: TypeAlias = Annotated[
    str, *scalar(_ksm_file, _KSM_FILE, number={"type": "boolean"}, example="pages_sharing")
]

KINDS = {
    "file": "",
    "psi": "",
    "vmstat": "",
    "memory_stat": "cgroup",
    "ksm": "",
    "scheme": "",
    "exporter": "series",
    "prometheus": "query",
    "command": "",
}
"""The kinds of sources, and the keys that each requires."""

BELONGS = {"key": ("file",), "share": ("psi",), "cgroup": ("psi", "memory_stat"),
           "statistic": ("scheme",), "stale_after": ("file", "prometheus"), "series": ("exporter",), "query": ("prometheus",)}  # fmt: skip
"""The optional keys, and the kinds that they belong to."""


class Source(Model):
    """One of a file, the kernel's numbers, an exporter, Prometheus or a program."""

    file: SomeText | None = None
    """A file with a number, or with lines `KEY NUMBER`."""
    key: SomeText | None = None
    """The key of the line in `file`."""
    psi: Literal["memory", "cpu", "io"] | None = None
    """Pressure: the microseconds that tasks waited for a resource."""
    share: Literal["some", "full"] = "some"
    """Of `psi`: whether `some` tasks waited, or all that could run (`full`)."""
    cgroup: Cgroup | None = None
    """Of `psi` and `memory_stat`: the cgroup."""
    vmstat: SomeText | None = None
    """A line of /proc/vmstat, such as `workingset_refault_anon`."""
    memory_stat: SomeText | None = None
    """A line of a `cgroup`'s memory.stat."""
    ksm: KsmFile | None = None
    """A file of /sys/kernel/mm/ksm, such as `pages_sharing`."""
    scheme: SomeText | None = None
    """A scheme of this policy, as `KDAMOND/SCHEME`: the bytes that its `statistic` counts."""
    statistic: Literal["tried", "applied", "passed"] = "tried"
    """Of `scheme`: bytes it was `tried` on, those that `passed` its filters, or were `applied` to."""
    exporter: SomeText | None = None
    """The address of a Prometheus endpoint on this machine; `series` selects the number."""
    series: SomeText | None = None
    """A name, and perhaps labels: `name{label="value"}`."""
    prometheus: SomeText | None = None
    """The address of a Prometheus server on this machine, for `query`."""
    query: SomeText | None = None
    """A query that returns one number."""
    command: tuple[Text, ...] | None = None
    """A program and its arguments; an administrator has to allow it."""
    as_: Literal["value", "rate"] = Field("value", alias="as")
    """The number itself, or its growth per second."""
    times: Factor = Fraction(1)
    """A factor, as goals are whole numbers."""
    every: Duration | None = None
    """How often to read it; by default, once per window of the quota."""
    stale_after: Duration = 60_000_000
    """The greatest age of a number, if known: for files and Prometheus."""

    @property
    def kinds(self) -> list[str]:
        """The kinds that were given; it has to be exactly one."""
        return [kind for kind in KINDS if kind in self.model_fields_set]

    def plain(self) -> dict[str, object]:
        """The source as plain data for `tuning.sources.Meter`; ages are in seconds.

        Raises Unread if it names no source.
        """
        if not self.kinds:
            raise Unread("from")
        kind = self.kinds[0]
        found: dict[str, object] = {kind: getattr(self, kind), "as": self.as_}
        if kind == "command":
            found[kind] = list(self.command or ())
        for name, owners in BELONGS.items():
            if kind in owners and getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return {**found, "times": str(self.times), "stale_after": self.stale_after / 1e6}
