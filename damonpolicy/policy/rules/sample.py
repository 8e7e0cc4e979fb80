"""Rules on the accesses that count."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.sample import Accesses
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import readable, rule

__all__ = ("check",)

_LONGEST = 2047
"""The number of characters that a read of ``tid_arr`` shows; seen on the development tree."""


@rule
def check(kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in ``accesses``."""
    accesses = kdamond.accesses
    if accesses is None:
        return
    yield from _threads(accesses, at("threads"))
    yield from _primitive(accesses, at("primitive"))
    for each in (_operations, _optional, _unit, _probes):
        yield from each(kdamond, accesses, at)


@rule
def _threads(accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if accesses.threads is not None and not accesses.threads and not at.lost:
        message = "`threads` is empty, which crashes the kernel"
        hint = "list threads, or leave it out"
        yield Diagnostic.error("DP0225", at.value, message, hint=hint)
    if len(",".join(map(str, accesses.threads or ()))) > _LONGEST:
        message = f"the kernel shows no more than {_LONGEST} characters of `threads`"
        hint = "name fewer: what cannot be read back cannot be verified"
        yield Diagnostic.error("DP0119", at.value, message, hint=hint)


@rule
def _primitive(accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if accesses.primitive == "page_table" and not accesses.alike:
        message = "page tables show neither writes nor CPUs nor threads"
        hint = "remove `primitive`: page faults are taken where they are needed"
        yield Diagnostic.error("DP0229", at.value, message, hint=hint)


@rule
def _operations(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.ops != "paddr" and not accesses.everything:
        yield Diagnostic.error(
            "DP0229",
            at.key,
            f"`{kdamond.ops}` would count nothing: only `paddr` can tell accesses apart",
            hint="use `ops: paddr`, and `memcg` filters for processes",
        )


@rule
def _optional(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if accesses.everything or not accesses.optional:
        return
    for index, scheme in readable(kdamond.schemes, "action"):
        if scheme.action != "stat":
            yield Diagnostic.error(
                "DP0228",
                at("optional").key,
                "`accesses` cannot be optional where a scheme acts on what it finds",
                hint=f"`{scheme.action}` would take memory that is merely read",
                related=[(Cursor(at.read, at.path[:-1])("schemes", index, "action").value,
                          "this scheme acts")],
            )  # fmt: skip


@rule
def _unit(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.addr_unit != 1 and not accesses.everything:
        message = "telling accesses apart works with `addr_unit: 1` only"
        yield Diagnostic.error("DP0236", at.key, message, hint="remove `addr_unit`")


@rule
def _probes(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    weighted = any(probe.weight for _, probe in readable(kdamond.probes, "weight"))
    if weighted and not accesses.everything:
        message = "a probe with a weight takes the place of access checks, so none would count"
        hint = "remove `accesses`, or the probe's weight"
        yield Diagnostic.error("DP0234", at.key, message, hint=hint)
