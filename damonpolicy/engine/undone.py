"""What came of an undo."""

from __future__ import annotations

from collections.abc import Mapping
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
        self.living: dict[int, Mapping[str, str]] = {}
        """What was handed to the kernel where some processes had ended, by slot."""

    @property
    def moved(self) -> bool:
        """Whether anything is not as it is on record: `put_right`."""
        return bool(self.restarted or self.living)

    def leave(self, text: str) -> None:
        """Take note of what is someone else's, and left alone."""
        self.problems.append(text)
        self.theirs = True


def put_right(managed: Managed, undone: Undone) -> Managed:
    """Return what is managed after an undo: the same, but for new threads and who has ended."""
    slots = {}
    for slot, record in managed.slots.items():
        pid, start = undone.restarted.get(slot, (record.pid, record.start))
        files = undone.living.get(slot, record.files)
        left = {text for path, text in files.items() if path.endswith("/pid_target")}
        members = tuple(member for member in record.members if str(member[0]) in left)
        slots[slot] = replace(record, pid=pid, start=start, files=files, members=members)
    return replace(managed, slots=slots)
