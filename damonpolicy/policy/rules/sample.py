"""Rules on the accesses that count."""

from __future__ import annotations

from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.sample import Accesses
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, Rules, readable

__all__ = ("check",)

_LONGEST = 2047
"""The number of characters that a read of ``tid_arr`` shows; seen on the development tree."""


check = Rules[[Kdamond, Accesses, Cursor]]()
"""The rules on a kdamond's accesses; the place is the kdamond's."""


@check.add
def _threads(_: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    place = at("accesses", "threads")
    if accesses.threads is not None and not accesses.threads and not place.lost:
        message = "`threads` is empty, which crashes the kernel"
        yield place.value.error("DP0225", message, "list threads, or leave it out")
    if len(",".join(map(str, accesses.threads or ()))) > _LONGEST:
        message = f"the kernel shows no more than {_LONGEST} characters of `threads`"
        hint = "name fewer: what cannot be read back cannot be verified"
        yield place.value.error("DP0119", message, hint)


@check.add
def _primitive(_: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    if accesses.primitive == "page_table" and not accesses.alike:
        message = "page tables show neither writes nor CPUs nor threads"
        hint = "remove `primitive`: page faults are taken where they are needed"
        yield at("accesses", "primitive").value.error("DP0229", message, hint)


@check.add
def _restricted(kdamond: Kdamond, accesses: Accesses, at: Cursor) -> Findings:
    if accesses.everything:
        return
    ops, place = kdamond.known("ops", "paddr"), at("accesses")
    if ops != "paddr":
        message = f"`{ops}` would count nothing: only `paddr` can tell accesses apart"
        hint = "use `ops: paddr`, and `memcg` filters for processes"
        yield place.key.error("DP0229", message, hint)
    if kdamond.known("addr_unit", 1) != 1:
        message = "telling accesses apart works with `addr_unit: 1` only"
        yield place.key.error("DP0236", message, "remove `addr_unit`")
    if any(probe.weight for _, probe in readable(kdamond.known("probes", ()), "weight")):
        message = "a probe with a weight takes the place of access checks, so none would count"
        yield place.key.error("DP0234", message, "remove `accesses`, or the probe's weight")
    for index, scheme in readable(kdamond.schemes if accesses.optional else (), "action"):
        if scheme.action != "stat":
            message = "`accesses` cannot be optional where a scheme acts on what it finds"
            hint = f"`{scheme.action}` would take memory that is merely read"
            related = [(at("schemes", index, "action").value, "this scheme acts")]
            yield place("optional").key.error("DP0228", message, hint, related=related)
