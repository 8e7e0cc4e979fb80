"""Rules on sources: one kind, with its own keys."""

from __future__ import annotations

from damonpolicy.policy.model.sources import BELONGS, KINDS, Source
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, rule

__all__ = ("check",)


@rule
def check(source: Source, at: Cursor) -> Findings:
    """Yield the errors in a source."""
    yield from _options(source, at)
    kinds = source.kinds
    if len(kinds) != 1 and not at.lost:
        what = "nothing" if not kinds else "both `" + "` and `".join(kinds[:2]) + "`"
        message = f"a source is one thing, and this names {what}"
        yield at.spot.error("DP0256", message, "one of " + ", ".join(f"`{each}`" for each in KINDS))
        return
    for kind in kinds[:1]:
        needed = KINDS[kind]
        if needed and needed not in source.model_fields_set:
            message = f"`{kind}` does not say which {needed}"
            yield at(kind).key.error("DP0256", message, f"add `{needed}:`")
        if kind == "command" and source.known(kind) == () and not at(kind).lost:
            hint = "write its path and its arguments as a list"
            yield at(kind).value.error("DP0256", "`command` names no program", hint)
        for name, owners in BELONGS.items():
            if source.says(name) and kind not in owners:
                why = ": its numbers have no age" if name == "stale_after" else ""
                message = f"`{kind}` takes no `{name}`{why}"
                yield at(name).key.error("DP0256", message, f"remove `{name}`")


@rule
def _options(source: Source, at: Cursor) -> Findings:
    dated = (source.known("file") or "").startswith(("/proc/", "/sys/"))
    if source.says("stale_after") and dated:  # the kernel makes their content at each read
        message = "files of the kernel have no age: `stale_after` changes nothing"
        yield at("stale_after").key.error("DP0256", message, "remove `stale_after`")
    if source.known("times") == 0:
        message = "`times: 0` makes every number 0"
        yield at("times").value.error("DP0256", message, "write a factor above 0")
    for name in ("every", "stale_after"):
        if source.known(name) == 0:
            yield at(name).value.error("DP0222", f"`{name}` is 0", "write at least `100ms`")
