"""The files that a kdamond compiles to, their origin, and those that the kernel lacks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import U64_MAX, UnitError
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import FEATURES, first_kernel, needed
from damonpolicy.kernel.damon.schema import default, pattern
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import FilterLine
from damonpolicy.policy.model.scalars import Unread
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.source.nodes import Path

__all__ = ("Files",)

_WHAT = {feature.name: feature.what for feature in FEATURES}


class Files:
    """A collector of files; ``found`` has missing features and other findings."""

    def __init__(self, policy: str, capabilities: Capabilities, machine: Machine | None) -> None:
        self.policy = policy
        self.capabilities = capabilities
        self.machine = machine
        self.found: list[Diagnostic] = []
        self.files: dict[str, str] = {}
        self.origins: dict[str, Cursor] = {}
        self.filters: dict[str, tuple[FilterLine, ...]] = {}
        self.names: dict[str, str] = {}
        self.uses_faults = False
        self.refused: set[tuple[str, Path]] = set()

    def part(self, compile_: Callable[..., None], *arguments: Any) -> None:
        """Compile a part; leave out unreadable values, as an error was reported."""
        with suppress(Unread, UnitError):
            compile_(*arguments)

    def put_field(self, path: str, value: Callable[[], object], at: Cursor) -> None:
        """Set one file from a field that may be unreadable."""
        self.part(lambda: self.put(path, value(), at))

    def put(self, path: str, value: object, at: Cursor) -> None:
        """Set one file; booleans become Y and N."""
        if isinstance(value, bool):
            value = "Y" if value else "N"
        if isinstance(value, int) and value > U64_MAX:
            message = "this is out of range (64 bits)"
            self.found.append(Diagnostic.error("DP0119", at.value, message))
        self.files[path] = str(value)
        self.origins[path] = at

    def refuse_missing(self) -> None:
        """Refuse files that the kernel lacks; drop those that equal its behaviour anyway.

        Files that it may have stay, including defaults: an existing file may hold anything.
        """
        for path, value in list(self.files.items()):
            missing = self._missing(path, value)
            if missing is None:
                continue
            if value == default(path):
                del self.files[path]
            else:
                self.refuse(self.origins[path], missing)
        for directory, lines in list(self.filters.items()):
            at = self.origins[directory]
            missing = self._missing(f"{directory}/nr_filters", str(len(lines)))
            if missing is None:
                self.filters[directory] = tuple(self._line(directory, each, at) for each in lines)
                continue
            del self.filters[directory]
            if lines:
                self.refuse(at, missing)

    def _line(self, directory: str, line: FilterLine, at: Cursor) -> FilterLine:
        kept = {}
        for name, value in line.files.items():
            path = f"{directory}/0/{name}"
            missing = self._missing(path, value)
            if missing is None:
                kept[name] = value
            elif value != default(path):
                self.refuse(at, missing)
        return FilterLine(kept, line.subtree, line.path_file)

    def _missing(self, path: str, value: str) -> str | None:
        """Return the missing feature that a file or its word needs."""
        where = pattern(f"0/{path}").replace("0/", "*/", 1)
        for feature in needed(where, value):
            if self.capabilities.known(feature.name) == "no":
                return feature.name
        return None

    def has_all(self, names: list[str]) -> bool:
        """Return whether the kernel has, or may have, all of some features."""
        return all(self.capabilities.has(name) for name in names)

    def lacking(self, names: list[str]) -> str:
        """Describe which of some features the kernel lacks, and which kernel has it."""
        lacking = next(name for name in names if not self.capabilities.has(name))
        return f"this kernel lacks {_WHAT[lacking]}; {first_kernel(lacking)}"

    def left_out(self, at: Cursor, message: str, reason: str) -> None:
        """Note an optional part that is left out."""
        self.found.append(Diagnostic.note("DP0601", at.spot, f"{message} ({reason})"))

    def refuse(self, at: Cursor, feature: str, message: str = "") -> None:
        """Refuse a part that needs a missing feature."""
        # one setting may be several files: a scheme's missing feature is reported once, as for
        # probes
        place = at.path[: 3 if "probes" in at.path[:3] else 4]
        if (feature, place) in self.refused:
            return
        self.refused.add((feature, place))
        self.found.append(
            Diagnostic.error(
                "DP0401",
                at.spot,
                message or f"this kernel lacks {_WHAT[feature]}",
                hint=first_kernel(feature),
                unsupported=True,
            )
        )
