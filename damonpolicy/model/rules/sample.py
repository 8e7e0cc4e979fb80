"""Rules on the accesses that count."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.diagnostics import Diagnostic
from damonpolicy.model.kdamond import Kdamond
from damonpolicy.model.read import Cursor

__all__ = ("check",)

_LONGEST = 2047
"""Characters of ``tid_arr`` that reading it shows; seen on the development tree."""


def check(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield what is wrong with ``accesses``."""
    accesses = kdamond.accesses
    if accesses is None or accesses.everything:
        return
    if kdamond.ops != "paddr":
        yield Diagnostic.error(
            "DP0229",
            at.key,
            f"`{kdamond.ops}` would count nothing: only `paddr` can tell accesses apart",
            hint="use `ops: paddr`, and `memcg` filters for processes",
        )
    if accesses.threads is not None and not accesses.threads and not at("threads").lost:
        message = "`threads` is empty, which crashes kernels"
        hint = "name threads, or leave it out"
        yield Diagnostic.error("DP0225", at("threads").value, message, hint=hint)
    if len(",".join(map(str, accesses.threads or ()))) > _LONGEST:
        message = f"the kernel shows no more than {_LONGEST} characters of `threads`"
        hint = "name fewer: what cannot be read back cannot be verified"
        yield Diagnostic.error("DP0119", at("threads").value, message, hint=hint)
    if accesses.primitive == "page_table" and not accesses.alike:
        message = "page tables tell neither writes nor CPUs nor threads"
        hint = "remove `primitive`: page faults are taken where they are needed"
        yield Diagnostic.error("DP0229", at("primitive").value, message, hint=hint)
    if accesses.optional:
        for index, scheme in enumerate(kdamond.schemes):
            if scheme.action != "stat":
                yield Diagnostic.error(
                    "DP0228",
                    at("optional").key,
                    "`accesses` cannot be optional where a scheme acts on what it finds",
                    hint=f"`{scheme.action}` would take memory that is merely read",
                    related=[(Cursor(at.read, at.path[:-1])("schemes", index, "action").value,
                              "this scheme acts")],
                )  # fmt: skip
    if kdamond.addr_unit != 1:
        message = "telling accesses apart works with `addr_unit: 1` only"
        yield Diagnostic.error("DP0236", at.key, message, hint="remove `addr_unit`")
    if any(probe.weight for probe in kdamond.probes):
        message = "a probe with a weight takes the place of access checks, so none would count"
        hint = "remove `accesses`, or the probe's weight"
        yield Diagnostic.error("DP0234", at.key, message, hint=hint)
