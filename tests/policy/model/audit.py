"""Audit of each key of the policy language, by class of value and kernel.

    python -m tests.policy.model.audit

A cell is `refused`, `lacking` (refused, as the kernel has no such file), `warned` or `effective`:
the compiled tree then differs from that of a usual value in a file that the kernel reads. `default`
is the kernel's own value, which says what a policy without the key says. Anything else is `NOTHING`,
and a defect.
Keys are those of the table of words, which gives each the kernel's file and its unit.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.kernel.damon.schema import default
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.damon.words import WORDS, Word
from damonpolicy.plan.show.texts import value_text
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source.files import SourceFile

KERNELS = ("6.12", "7.3", "damon-next-late")
CLASSES = ("zero", "minimum", "default", "maximum", "beyond")
_OURS = (
    "targets.obsolete", "quota.goals.current", "quota.fail_charge", "quota.fail_charge.of",
    "accesses.primitive", "accesses.kind",
    "accesses.page_table", "accesses.page_fault", "accesses.allow",
    "filters.allow", "probes.filters.allow", "quota.goals.target",
)  # fmt: skip
"""Names of files that are no key of one number: verbs, ratios, words, or not for a policy."""
_LISTS = ("schemes", "goals", "filters", "probes", "regions", "targets", "to")
_MOST = {"us": U64_MAX, "ms": U64_MAX, "bytes": U64_MAX, "address": U64_MAX,
         "count": U32_MAX, "samples": U64_MAX, "aggregations": U64_MAX}  # fmt: skip
_SHARES = {"permil": 1_000, "bp": 10_000}
_UNITS = {"us": "us", "ms": "ms", "bytes": "B", "address": "B", "samples": " samples",
          "aggregations": " aggregations", "count": ""}  # fmt: skip


def _scheme(action: str = "stat", **more: Any) -> dict[str, Any]:
    return {"schemes": [{"name": "s", "action": action, **more}]}


def _pageout(**quota: Any) -> dict[str, Any]:
    return _scheme("pageout", quota={"size": "1MiB", "time": "20ms", "every": "1s", **quota})


_TUNED = {"observe": "4%", "aggregations": "3", "min_sample": "2ms", "max_sample": "7s"}
_MARKS = {"metric": "free_mem_rate", "every": "7s", "high": "60%", "mid": "40%", "low": "20%"}
_NODE = {"metric": "node_mem_free_bp", "node": "7", "target": "5%"}
_FILTERS: dict[str, Any] = {
    "addr": {"start": "2MiB", "end": "9MiB"},
    "target": "7",
    "hugepage_size": {"min": "8KiB", "max": "4MiB"},
}
USUAL: dict[str, dict[str, Any]] = {
    "refresh": {"refresh": "7s"},
    "paused": {"paused": "false"},
    "addr_unit": {"addr_unit": "4096"},
    "intervals": {"intervals": {"sample": "7ms", "aggregation": "140ms", "update": "7s"}},
    "intervals.auto_tune": {"intervals": {"sample": "7ms", "auto_tune": _TUNED}},
    "region_count": {"region_count": {"min": "20", "max": "700"}},
    "targets.regions": {"targets": [{"regions": [{"start": "2MiB", "end": "9MiB"}]}]},
    "probes": {"probes": [{"name": "p", "weight": "7", "filters": [{"allow": "anon"}]}]},
    "probes.filters": {
        "probes": [
            {"name": "p", "filters": [{"allow": {"hugepage_size": _FILTERS["hugepage_size"]}}]}
        ]
    },
    "to": _scheme("migrate_hot", to="7", quota="unlimited"),
    "to.": {
        "ops": "vaddr",
        "targets": [{"process": {"name": "nginx"}}],
        **_scheme(
            "migrate_hot", quota="unlimited",
            to=[{"node": "7", "weight": "7"}, {"node": "9", "weight": "9"}],
        ),
    },
    "apply_every": _scheme(apply_every="7s"),
    "max_snapshots": _scheme(max_snapshots="7"),
    "access_pattern": _scheme(
        access_pattern={
            "size": {"min": "8KiB", "max": "9MiB"},
            "access_rate": {"min": "2 samples", "max": "15 samples"},
            "age": {"min": "7 aggregations", "max": "700 aggregations"},
        }
    ),
    "quota": _pageout(),
    "quota.weights": _pageout(weights={"size": "0", "access_rate": "7", "age": "9"}),
    "quota.goals": _pageout(goals=[_NODE]),
    "quota.goals.complement": _pageout(goals=[{**_NODE, "complement": "false"}]),
    "watermarks": _scheme(watermarks=_MARKS),
}  # fmt: skip
"""Kdamonds with a usual value of each key, which none of the classes has; the longest name fits."""


def usual(key: str) -> dict[str, Any]:
    """Return a kdamond that has a key."""
    start = {"name": "k", "ops": "paddr", "targets": [{"system_ram": "true"}], **_scheme()}
    if key.startswith("filters."):
        kind = key.split(".")[1]
        vaddr = (
            {"ops": "vaddr", "targets": [{"process": {"name": "nginx"}}]}
            if kind == "target"
            else {}
        )
        return {**start, **vaddr, **_scheme(filters=[{"reject": {kind: _FILTERS[kind]}}])}
    fitting = [name for name in USUAL if key.startswith(name)]
    return copy.deepcopy({**start, **(USUAL[max(fitting, key=len)] if fitting else {})})


def keys() -> Iterator[Word]:
    """Yield every key that is a number or a truth in a file of the kernel, once."""
    seen = set()
    for word in WORDS:
        known = word.unit in _UNITS or word.unit in _SHARES or word.unit == "bool"
        if known and word.ours not in seen and word.ours not in _OURS:
            seen.add(word.ours)
            yield word


def values(word: Word) -> dict[str, str]:
    """Return a value of each class, as a policy has it."""
    unit = word.unit
    if unit == "bool":
        return {"zero": "false", "default": "false", "maximum": "true"}
    if unit in _SHARES:
        least = f"{100 / _SHARES[unit]:.2f}%"
        found = {"zero": "0%", "minimum": least, "maximum": "100%", "beyond": "101%"}
    else:
        end, most = _UNITS[unit], _MOST[unit]
        numbers = {"zero": 0, "minimum": 1, "maximum": most, "beyond": most + 1}
        found = {name: f"{number}{end}" for name, number in numbers.items()}
    text = value_text(unit, default(word.kernel.replace("*", "0")), {}).split(" (")[0]
    return {**found, "default": found["zero"] if text in ("0", "unlimited", "") else text}


def put(kdamond: dict[str, Any], key: str, value: str | None) -> dict[str, Any]:
    """Return a copy with another value of a key, or without it."""
    made = copy.deepcopy(kdamond)
    *inner, last = key.split(".")
    here: Any = made
    scheme = (*inner, last)[0] not in made
    if scheme:
        here = here["schemes"][0]
    for name in inner:
        here = here[name]
        if isinstance(here, list):
            here = here[0]
        if name == "filters":
            (here,) = here.values()
    if value is None:
        here.pop(last, None)
    else:
        here[last] = value
    return made


def compiled(kdamond: dict[str, Any], capabilities: Capabilities) -> tuple[Any, bool, bool]:
    """Return what the kernel reads of a kdamond, and whether there are errors, and warnings."""
    text = json.dumps({"version": "1", "name": "p", "kdamonds": [kdamond]})
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    policies, more = compile_policies(loaded, capabilities, None, Upkeep(unfed=True))
    kinds = {each.severity for each in (*loaded.found, *more)}
    trees = [
        (each.files, each.filters, each.targets, each.target_files)
        for policy in policies.values()
        for each in policy.kdamonds
    ]
    return trees, "error" in kinds, "warning" in kinds


def verdict(word: Word, name: str, capabilities: Capabilities) -> str:
    """Return what becomes of a value on a kernel; ``name`` is its class."""
    given = values(word)
    value = given[name]
    base = usual(word.ours)
    before, lacking, noisy = compiled(base, capabilities)
    after, refused, warned = compiled(put(base, word.ours, value), capabilities)
    if refused:
        return "lacking" if lacking else "refused"
    if warned and not noisy:
        return "warned"
    if before != after and not lacking:
        return "effective"
    without = compiled(put(base, word.ours, None), capabilities)
    return "default" if value == given["default"] and without[:2] == (after, False) else "NOTHING"


def table() -> Iterator[str]:
    """Yield the lines of the table, one for each key and kernel."""
    known = {version: EmulatedMachine.create(version) for version in KERNELS}
    able = {name: detect(machine, snapshot(machine)) for name, machine in known.items()}
    yield f"{'key':36}{'kernel':17}" + "".join(f"{name:11}" for name in CLASSES).rstrip()
    for word in keys():
        given = values(word)
        for version, capabilities in able.items():
            cells = [
                verdict(word, name, capabilities) if name in given else "-" for name in CLASSES
            ]
            yield f"{word.ours:36}{version:17}" + "".join(f"{each:11}" for each in cells).rstrip()


if __name__ == "__main__":
    print("\n".join(table()))
