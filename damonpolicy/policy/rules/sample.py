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
        yield at.value.error("DP0225", message, "list threads, or leave it out")
    if len(",".join(map(str, accesses.threads or ()))) > _LONGEST:
        message = f"the kernel shows no more than {_LONGEST} characters of `threads`"
        hint = "name fewer: what cannot be read back cannot be verified"
        yield at.value.error("DP0119", message, hint)


@rule
def _primitive(accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if accesses.primitive == "page_table" and not accesses.alike:
        hint = "remove `primitive`: page faults are taken where they are needed"
        yield at.value.error("DP0229", "page tables show neither writes nor CPUs nor threads", hint)


@rule
def _operations(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    if kdamond.ops != "paddr" and not accesses.everything:
        message = f"`{kdamond.ops}` would count nothing: only `paddr` can tell accesses apart"
        yield at.key.error("DP0229", message, "use `ops: paddr`, and `memcg` filters for processes")


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
        yield at.key.error("DP0236", message, "remove `addr_unit`")


@rule
def _probes(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Iterator[Diagnostic]:
    weighted = any(probe.weight for _, probe in readable(kdamond.probes, "weight"))
    if weighted and not accesses.everything:
        message = "a probe with a weight takes the place of access checks, so none would count"
        yield at.key.error("DP0234", message, "remove `accesses`, or the probe's weight")
