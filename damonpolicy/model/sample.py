"""``monitoring_attrs/sample/``: which accesses count."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from damonpolicy.model.scalars import Count, Cpus, Flag, Model, Node, shape

__all__ = ("Accesses", "NodeCpus")


class NodeCpus(Model):
    """The CPUs of a node."""

    numa_node: Node


class Accesses(Model):
    """Count writes, reads or all accesses, of all or of some CPUs and threads."""

    kind: Literal["any", "read", "write"] = "any"
    cpus: (
        Annotated[
            Annotated[Cpus, Tag("scalar")] | Annotated[NodeCpus, Tag("mapping")],
            Discriminator(shape),
        ]
        | None
    ) = None
    threads: tuple[Count, ...] | None = None
    optional: Flag = False

    @property
    def everything(self) -> bool:
        """Whether this asks for what every kernel does anyway."""
        return self.kind == "any" and self.cpus is None and self.threads is None
