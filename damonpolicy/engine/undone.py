"""What came of an undo."""

from __future__ import annotations

from dataclasses import replace

from damonpolicy.plan.managed import Managed

__all__ = ("Undone", "put_right")


class Undone:
    """What an undo could not do, and what it cost."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.theirs = False
        """Whether a problem is what someone else wrote, so that it could be overwritten."""
        self.remarks: list[str] = []
        self.restarted: dict[int, tuple[int, int]] = {}
        """New pids and start times of kdamonds that had to be started anew, by slot."""

    def leave(self, text: str) -> None:
        """Take note of what is someone else's, and left alone."""
        self.problems.append(text)
        self.theirs = True


def put_right(managed: Managed, undone: Undone) -> Managed:
    """Return what is managed after an undo: the same, but for threads that are new."""
    slots = {
        slot: replace(record, pid=undone.restarted[slot][0], start=undone.restarted[slot][1])
        if slot in undone.restarted
        else record
        for slot, record in managed.slots.items()
    }
    return replace(managed, slots=slots)
