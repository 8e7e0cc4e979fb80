"""The files that a kdamond compiles to, their origin, and those that the kernel lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import field
from functools import wraps
from typing import ParamSpec

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX, UnitError
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.directory import File, Numbered
from damonpolicy.kernel.damon.features import FEATURES, first_kernel, needed
from damonpolicy.kernel.damon.schema import default, pattern
from damonpolicy.kernel.damon.view import Filter
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import Feed, FilterLine, Loop
from damonpolicy.policy.compile.plain import key_of, value_of
from damonpolicy.policy.model.scalars import Model, Unread
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.source.nodes import Path

__all__ = ("Files", "part")

_WHAT = {feature.name: feature.what for feature in FEATURES}


P = ParamSpec("P")


def part(compile_: Callable[P, None]) -> Callable[P, None]:
    """End one part, but not the others, at an unreadable value, as an error was reported."""

    @wraps(compile_)
    def compiling(*arguments: P.args, **options: P.kwargs) -> None:
        with suppress(Unread, UnitError):
            compile_(*arguments, **options)

    return compiling


@dataclass(slots=True)
class Files:
    """A collector of files; ``found`` has missing features and other findings."""

    policy: str
    capabilities: Capabilities
    machine: Machine | None
    served: bool = False
    """Whether a service runs, which ``feeds`` goals and moves values in ``loops``."""
    found: list[Diagnostic] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    origins: dict[str, Cursor] = field(default_factory=dict)
    filters: dict[str, tuple[FilterLine, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    feeds: list[Feed] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    uses_faults: bool = False
    refused: set[tuple[str, Path]] = field(default_factory=set)

    @part
    def put_field(self, path: str, value: Callable[[], object], at: Cursor) -> None:
        """Set one file from a field that may be unreadable."""
        self.put(path, value(), at)

    def put_keys(self, model: Model, at: Cursor, *files: File) -> None:
        """Set files from the fields of a model that their rows name."""
        for each in files:
            self.put(each.path, value_of(each, model), at(key_of(each)))

    def put(self, path: str, value: object, at: Cursor) -> None:
        """Set one file; booleans become Y and N."""
        if isinstance(value, bool):
            value = "Y" if value else "N"
        if isinstance(value, int) and value > U64_MAX:
            message = "this is out of range (64 bits)"
            self.found.append(Diagnostic.error("DP0119", at.value, message))
        self.files[path] = str(value)
        self.origins[path] = at

    def put_filters(self, path: str, lines: Iterable[FilterLine], at: Cursor) -> None:
        """Set the filters of a directory."""
        self.filters[path] = tuple(lines)
        self.origins[path] = at

    def refuse_missing(self) -> None:
        """Refuse files that the kernel lacks; drop those that equal its behaviour anyway.

        Files that it may have stay, including defaults: an existing file may hold anything.
        """
        for path, value in list(self.files.items()):
            if not self._has(path, value, self.origins[path]) and value == default(path):
                del self.files[path]
        for directory, lines in list(self.filters.items()):
            at, filters = self.origins[directory], Numbered({}, directory, Filter)
            if self._has(filters.count.path, str(len(lines)), at):
                self.filters[directory] = tuple(self._line(filters[0], each, at) for each in lines)
            else:
                del self.filters[directory]

    def _line(self, own: Filter, line: FilterLine, at: Cursor) -> FilterLine:
        files = line.files.items()
        kept = {name: each for name, each in files if self._has(own.below(name), each, at)}
        return FilterLine(kept, line.subtree, line.path_file)

    def _has(self, path: str, value: str, at: Cursor) -> bool:
        """Return whether the kernel has a file and its word; refuse what is not its behaviour."""
        features = (each.name for each in needed(pattern(f"0/{path}"), value))
        missing = next((each for each in features if self.capabilities.known(each) == "no"), None)
        if missing is not None and value != default(path):
            self.refuse(at, missing)
        return missing is None

    def leaves_out(self, at: Cursor, message: str, needed: Iterable[str]) -> bool:
        """Return whether the kernel lacks what an optional part needs; note that it is left out."""
        if lacking := self.lacking(needed):
            reason = f"this kernel lacks {_WHAT[lacking]}; {first_kernel(lacking)}"
            self.left_out(at, message, reason)
        return bool(lacking)

    def lacking(self, needed: Iterable[str]) -> str:
        """Return the first of some features that the kernel lacks; empty if it has all."""
        return next((name for name in needed if not self.capabilities.has(name)), "")

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
