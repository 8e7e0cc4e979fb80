"""Operations as plain data, which are shown, saved, executed and undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import module_of
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system.machine import KDAMONDS

__all__ = ("Kind", "Operation", "Phase")

Kind = Literal["write", "count", "command", "setting", "inputs"]
"""``count`` writes wipe directories, ``command`` writes go to a kdamond's state file, ``inputs``
let a module of DAMON that runs take its parameters."""

Phase = Literal["settings", "stage", "commit", "start", "stop", "restore", "modules"]
"""The phase of an operation in a transaction."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One write to one file.

    ``path`` is absolute; ``before`` is what the file holds when the operation's turn comes
    (for commands: the state), ``after`` what is written. ``slot`` is the kdamond's number,
    or -1. ``accepts`` names other contents that mean the same after a read-back.
    """

    kind: Kind
    phase: Phase
    path: str
    before: str
    after: str
    slot: int = -1

    @classmethod
    def command(
        cls, slot: int, word: str, before: str = "on", phase: Phase = "commit"
    ) -> Operation:
        """Return the write of a word to a kdamond's state file, which then holds ``before``."""
        return cls("command", phase, kdamond_path(slot, Kdamond().state.path), before, word, slot)

    @property
    def relative(self) -> str:
        """The path below the kdamonds directory, for DAMON's files."""
        return self.path.removeprefix(KDAMONDS + "/")

    @property
    def starts_module(self) -> bool:
        """Whether it switches on one of DAMON's modules, whose kdamond has to run afterwards."""
        from damonpolicy.kernel.settings import normalise  # the engine has imported it by then

        switch = bool(module_of(self.path)) and self.path.endswith("/enabled")
        return switch and normalise(self.after) == "1"

    @property
    def inverse(self) -> Operation:
        """The operation that reverts this one.

        A count's inverse brings the directories back empty: their files are the business
        of whoever undoes, with the tree of before in hand. Neither can a string that was
        empty be emptied again (a write of nothing does nothing); its directory has to be
        made again.
        """
        opposite = {"on": "off", "off": "on"}
        if self.kind == "command":
            return replace(self, before=self.after, after=opposite.get(self.after, self.after))
        return replace(self, before=self.after, after=self.before)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Operation:
        """Read what `to_json` gave; raises ValueError for anything else."""
        return typed.record(cls, data, "an operation")
