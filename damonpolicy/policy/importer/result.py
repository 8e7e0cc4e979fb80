"""The input and the result of decompilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import Directory, File
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system.machine import Machine

__all__ = ("UNSAID", "Decompiled")

UNSAID = "a policy has no words for it, or writes it another way"
"""The reason if no remark gives a better one."""


@dataclass(slots=True)
class Decompiled:
    """A kdamond as plain data of the language; ``remarks`` have a reason per omitted file."""

    slot: Kdamond
    names: Mapping[str, str]
    machine: Machine | None
    data: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    """Remarks by the path of a file, or of a directory with everything below it."""

    def remark(self, why: str, *places: Directory | File) -> None:
        """Add the reason why files or directories will differ."""
        for each in places:
            self.remarks.setdefault(each.path, why)

    def why(self, path: str) -> str:
        """Return the remark about a file, so that every reported change has a reason."""
        return self.remarks.get(self.place(path), UNSAID)

    def place(self, path: str) -> str:
        """Return the path of the remark about a file: the file, or the nearest directory above it.

        Empty if there is none.
        """
        while path and path not in self.remarks:
            path = path.rpartition("/")[0]
        return path
