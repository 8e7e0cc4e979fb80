"""Rules on schemes of different kdamonds that do the same work on the same memory."""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import Target
from damonpolicy.policy.reading.read import Cursor, Read
from damonpolicy.policy.rules.rule import Findings, readable, rule

__all__ = ("check",)

_HINT = "two kdamonds and two quotas for one thing: leave one out, or let them differ"

_NEEDED = ("name", "ops", "when", "schemes", "accesses", "addr_unit", "targets")


@rule
def check(reads: Sequence[Read]) -> Findings:
    """Warn at the second of two: each kdamond has its own quota, and both take the same memory.

    Only certain cases are reported, without a machine; `stat` only counts, and alternatives exclude
    each other.
    """
    seen: list[tuple[str, Kdamond, Scheme, Cursor]] = []
    for read in reads:
        for index, kdamond in readable(read.policy.known("kdamonds", ()), *_NEEDED):
            if kdamond.ops != "paddr" or kdamond.when is not None:
                continue
            name = f"{read.policy.known('name')}/{kdamond.name}"
            for number, scheme in enumerate(kdamond.schemes):
                place = read.cursor("kdamonds", index, "schemes", number)
                if place.lost or scheme.action == "stat" or scheme.when is not None:
                    continue
                first = next((each for each in seen if _same(each, name, kdamond, scheme)), None)
                if first is None:
                    seen.append((name, kdamond, scheme, place))
                    continue
                what = f"`{scheme.name}` does what `{first[2].name}` of `{first[0]}` does"
                related = [(first[3]("name").value, "the other one")]
                yield place("name").value.warning(
                    "DP0609", f"{what}, on the same memory", _HINT, related=related
                )


def _same(
    other: tuple[str, Kdamond, Scheme, Cursor], name: str, kdamond: Kdamond, scheme: Scheme
) -> bool:
    its_name, its_kdamond, its_scheme, _ = other
    return (
        its_name != name
        and (its_kdamond.accesses, its_kdamond.addr_unit) == (kdamond.accesses, kdamond.addr_unit)
        and _work(its_scheme) == _work(scheme)
        and any(_meet(one, two) for one in its_kdamond.targets for two in kdamond.targets)
    )


def _work(scheme: Scheme) -> tuple[object, ...]:
    return (scheme.action, scheme.to, scheme.access_pattern, scheme.filters, scheme.young)


def _meet(one: Target, two: Target) -> bool:
    """Return whether two targets certainly share memory; a node's memory depends on the machine."""
    if one.system_ram or two.system_ram:
        return True
    if one.numa_node is not None or two.numa_node is not None:
        return one.numa_node == two.numa_node
    return any(
        mine.start < its.end and its.start < mine.end
        for mine in one.regions or ()
        for its in two.regions or ()
    )
