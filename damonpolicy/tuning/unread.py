"""The error for a missing number, which reveals no content: `Unread`."""

from __future__ import annotations

__all__ = ("Unread",)


class Unread(ValueError):
    """The content is not a number; the text is ours or the policy's, never the content.

    Sources are read as root, and messages appear in logs, in `status` and in metrics: more people
    see those than may read the file.
    """
