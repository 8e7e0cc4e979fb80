"""``monitoring_attrs/sample/``: the accesses to count."""

from __future__ import annotations

from typing import Literal

from damonpolicy.base.units import format_cpulist
from damonpolicy.policy.model.scalars import Cpus, Flag, Model, Node, Pid, ScalarOr

__all__ = ("Accesses", "NodeCpus")


class NodeCpus(Model):
    """The CPUs of a node."""

    numa_node: Node
    """The node."""


class Accesses(Model):
    """Count writes, reads or all accesses, of all or of some CPUs and threads."""

    kind: Literal["any", "read", "write"] = "any"
    """Count `write`, `read` or `any` accesses."""
    cpus: ScalarOr[Cpus, NodeCpus] | None = None
    """Count only accesses of these CPUs: a list such as `0-3,8`, or a node's."""
    threads: tuple[Pid, ...] | None = None
    """Count only accesses of these threads, by their ids (in a container: those in it)."""
    primitive: Literal["page_table", "page_fault"] | None = None
    """How to detect accesses: by page faults to distinguish them, otherwise in page tables."""
    optional: Flag = False
    """Count all accesses on a kernel that cannot choose; the plan says so."""

    @property
    def everything(self) -> bool:
        """Whether this equals the behaviour of every kernel."""
        return self.alike and self.primitive != "page_fault"

    @property
    def described(self) -> str:
        """The restrictions, in words."""
        if self.alike:
            return "by page faults"
        parts = []
        if isinstance(self.cpus, NodeCpus):
            parts.append(f"the CPUs of node {self.cpus.numa_node}")
        elif self.cpus is not None:
            parts.append(f"CPU{'s' if len(self.cpus) > 1 else ''} {format_cpulist(self.cpus)}")
        if self.threads is not None:
            numbers = ", ".join(map(str, self.threads))
            parts.append(f"thread{'s' if len(self.threads) > 1 else ''} {numbers}")
        kind = "" if self.kind == "any" else f"{self.kind} "
        return f"only {kind}accesses" + (f" of {' and of '.join(parts)}" if parts else "")

    @property
    def alike(self) -> bool:
        """Whether all accesses count, however they are detected."""
        return self.model_fields_set.isdisjoint(("cpus", "threads")) and self.kind == "any"
