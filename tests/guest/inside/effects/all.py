"""All probes, and the files whose effect no probe can see."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from . import filters, monitoring, quotas, schemes
from .lab import Places, Probe

__all__ = ("UNOBSERVED", "probes")


def probes(places: Places) -> Iterator[Probe]:
    """Return every probe."""
    return chain.from_iterable(
        each.probes(places) for each in (monitoring, schemes, quotas, filters)
    )


UNOBSERVED = {
    "nr_kdamonds": "no commit is about the number of kdamonds, which cannot change while one runs",
    "*/state": "the file of commands",
    "*/contexts/nr_contexts": "a kernel takes one context, and a running kdamond has it",
    "*/contexts/*/schemes/*/quotas/weights/age_permil": (
        "ages count in whole seconds, and an action sets them back: where a quota leaves memory"
        " out, what differs by its age alone has had its turn before that shows"
    ),
    "*/contexts/*/schemes/*/watermarks/mid": (
        "a commit wakes every scheme: what this decides shows when much memory has been taken, and"
        " is free again, which starved guests cannot do in time"
    ),
}
"""Files of which no effect can be seen in a guest, by pattern, and why."""
