"""``dests/``: the destination nodes of a migration."""

from __future__ import annotations

from damonpolicy.policy.model.scalars import Count, Model, Node

__all__ = ("Destination",)


class Destination(Model):
    """A node, and its share among all destinations."""

    node: Node
    """A NUMA node with memory."""
    weight: Count = 1
    """Its share among all."""
