"""Why there is no number, in words that reveal nothing of what was read: `Unread`."""

from __future__ import annotations

__all__ = ("Unread",)


class Unread(ValueError):
    """What was read is not a number; the text is ours, or the policy's, and never what was read.

    Sources are read as root, and their numbers appear in logs, in `status` and in metrics: more
    people see those than may read the file.
    """
