"""Rules on sources: one kind, with its own keys."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.policy.model.sources import BELONGS, KINDS, Source
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import rule

__all__ = ("check",)


@rule
def check(source: Source, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a source."""
    yield from _zeros(source, at)
    yield from _undated(source, at)
    kinds = source.kinds
    if len(kinds) != 1 and not at.lost:
        what = "nothing" if not kinds else "both `" + "` and `".join(kinds[:2]) + "`"
        message = f"a source is one thing, and this names {what}"
        hint = "one of " + ", ".join(f"`{each}`" for each in KINDS)
        yield Diagnostic.error("DP0256", at.spot, message, hint=hint)
        return
    for kind in kinds[:1]:
        needed = KINDS[kind]
        if needed and needed not in source.model_fields_set:
            message = f"`{kind}` does not say which {needed}"
            yield Diagnostic.error("DP0256", at(kind).key, message, hint=f"add `{needed}:`")
        if kind == "command" and source.known(kind) == () and not at(kind).lost:
            message = "`command` names no program"
            hint = "write its path and its arguments as a list"
            yield Diagnostic.error("DP0256", at(kind).value, message, hint=hint)
        for name, owners in BELONGS.items():
            if source.says(name) and kind not in owners:
                why = ": its numbers have no age" if name == "stale_after" else ""
                message, hint = f"`{kind}` takes no `{name}`{why}", f"remove `{name}`"
                yield Diagnostic.error("DP0256", at(name).key, message, hint=hint)


@rule
def _undated(source: Source, at: Cursor) -> Iterator[Diagnostic]:
    """Refuse `stale_after` on content that the kernel makes at each read, which has no age."""
    if source.says("stale_after") and (source.file or "").startswith(("/proc/", "/sys/")):
        message = "files of the kernel have no age: `stale_after` changes nothing"
        hint = "remove `stale_after`"
        yield Diagnostic.error("DP0256", at("stale_after").key, message, hint=hint)


@rule
def _zeros(source: Source, at: Cursor) -> Iterator[Diagnostic]:
    if source.known("times") == 0:
        message, hint = "`times: 0` makes every number 0", "write a factor above 0"
        yield Diagnostic.error("DP0256", at("times").value, message, hint=hint)
    for name in ("every", "stale_after"):
        if source.known(name) == 0:
            message = f"`{name}` is 0"
            yield Diagnostic.error("DP0222", at(name).value, message, hint="write at least `100ms`")
