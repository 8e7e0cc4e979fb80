"""Audit of each word of the policy language, of ratios, goals and modules' parameters.

    python -m tests.policy.model.audit_words

The verdicts are those of `tests.policy.model.audit`. A word is `effective` where the kernel is given
something else than by every other word of its key; `default` where it says what a policy without
the key says, or for a key that must be there, what the first word says.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.kernel.damon.modules import PARAMETERS
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.model.filters import Page
from damonpolicy.policy.model.quotas import METRICS, TunerName
from damonpolicy.policy.model.schemes import Action
from damonpolicy.policy.source.files import SourceFile
from tests.policy.model.audit import KERNELS, usual

Made = Mapping[str, Any]
_MORE = {
    "node": "0",
    "cgroup": "/machine.slice",
    "from": {"ksm": "pages_shared"},
}
_TARGETS = {"zero": 0, "minimum": 1, "whole": 10_000, "beyond": 10_001, "maximum": U64_MAX}
_RATIOS = ("0/1", "1/10", "1/1", "3/2", "1/0", f"{U32_MAX}/{U32_MAX}", f"1/{U32_MAX + 1}")
_UNITS = {"us": "us", "ms": "ms", "bytes": "B", "address": "B", "count": ""}
_SHARES = {"permil": 1_000, "bp": 10_000}
_VADDR = {"ops": "vaddr", "targets": [{"process": {"name": "nginx"}}]}


def policy(kdamond: Made | None = None, **more: Any) -> dict[str, Any]:
    """Return a policy with a kdamond, or with what else is given."""
    return {"version": "1", "name": "p", **({"kdamonds": [kdamond]} if kdamond else {}), **more}


def scheme(kdamond: Made | None = None, **more: Any) -> dict[str, Any]:
    """Return a policy of one scheme."""
    start = copy.deepcopy({**usual(""), **(kdamond or {})})
    start["schemes"][0] |= more
    return policy(start)


def goal(metric: str, target: int) -> dict[str, Any]:
    """Return a goal, with what its metric needs."""
    text = f"{target / 100:.2f}%" if metric.endswith("_bp") else str(target)
    needs = {key: _MORE[key] for key in sorted(METRICS[metric])}
    return {"metric": metric, "target": f"{text}us" if metric.endswith("_us") else text, **needs}


def families() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    """Yield keys, the policy without each, and a policy for each of its words."""
    quota = {"size": "1MiB", "every": "1s"}
    plain = scheme()
    yield "action", None, {
        each: scheme(action=each, quota=quota, **({"to": "1"} if "migrate" in each else {}))
        for each in get_args(Action)
    }  # fmt: skip
    yield "action on vaddr", None, {
        each: scheme(_VADDR, action=each, quota=quota, **({"to": "1"} if "migrate" in each else {}))
        for each in get_args(Action)
    }  # fmt: skip
    yield "ops", None, {
        "paddr": plain, "vaddr": scheme(_VADDR), "fvaddr": scheme({**_VADDR, "ops": "fvaddr"}),
    }  # fmt: skip
    pages: dict[str, Made] = {}
    for page in get_args(Page):
        for verb in ("allow", "reject"):
            pages[f"{verb} {page}"] = scheme(filters=[{verb: page}])
            pages[f"{verb} not {page}"] = scheme(filters=[{verb: {"not": page}}])
    pages["reject memcg"] = scheme(filters=[{"reject": {"memcg": "/machine.slice"}}])
    pages["allow memcg"] = scheme(filters=[{"allow": {"memcg": "/machine.slice"}}])
    yield "filters", plain, pages
    yield "filters of probes", plain, {
        f"{verb} {page}": policy(
            {**usual(""), "probes": [{"name": "p", "filters": [{verb: page}]}]}
        )
        for page in get_args(Page)
        for verb in ("allow", "reject")
    }  # fmt: skip
    reclaim = scheme(action="pageout", quota=quota)
    yield "quota.goals.metric", reclaim, {
        metric: scheme(action="pageout", quota={**quota, "goals": [goal(metric, 700)]})
        for metric in METRICS
    }  # fmt: skip
    for metric in METRICS:
        yield f"quota.goals.target of {metric}", reclaim, {
            name: scheme(action="pageout", quota={**quota, "goals": [goal(metric, number)]})
            for name, number in _TARGETS.items()
        }  # fmt: skip
    goals = {**quota, "goals": [goal("node_mem_free_bp", 700)]}
    yield "quota.tuner", scheme(action="pageout", quota=goals), {
        each: scheme(action="pageout", quota={**goals, "tuner": each})
        for each in get_args(TunerName)
    }  # fmt: skip
    yield "quota.fail_charge", reclaim, {
        each: scheme(action="pageout", quota={**quota, "fail_charge": each}) for each in _RATIOS
    }  # fmt: skip
    marks = {"every": "7s", "high": "60%", "mid": "40%", "low": "20%"}
    yield "watermarks.metric", plain, {
        each: scheme(watermarks={"metric": each, **(marks if each != "none" else {})})
        for each in ("none", "free_mem_rate")
    }  # fmt: skip
    yield "accesses", plain, {
        name: policy({**usual(""), "accesses": each})
        for name, each in {
            "kind any": {"kind": "any"}, "kind read": {"kind": "read"},
            "kind write": {"kind": "write"}, "page_table": {"primitive": "page_table"},
            "page_fault": {"primitive": "page_fault"}, "cpus": {"cpus": "0"},
        }.items()
    }  # fmt: skip
    for path, each in PARAMETERS.items():
        stat = {} if each.module == "damon_stat" else {"damon_stat": {"enabled": "false"}}
        module = {} if each.name == "enabled" else {"enabled": "true"}
        yield path.removeprefix("/sys/module/").replace("/parameters/", "."), policy(
            modules={**stat, each.module: module}
        ) if module else None, {
            name: policy(modules={**stat, each.module: {**module, each.name: value}})
            for name, value in parameter_values(each.unit).items()
        }  # fmt: skip


def parameter_values(unit: str) -> dict[str, str]:
    """Return a value of each class for a parameter of a module."""
    if unit == "bool":
        return {"false": "false", "true": "true"}
    if unit in _SHARES:
        return {"zero": "0%", "minimum": f"{100 / _SHARES[unit]:.2f}%", "maximum": "100%",
                "beyond": "101%"}  # fmt: skip
    numbers = {"zero": 0, "minimum": 1, "maximum": U64_MAX, "beyond": U64_MAX + 1}
    return {name: f"{number}{_UNITS[unit]}" for name, number in numbers.items()}


def compiled(made: Made, capabilities: Capabilities) -> tuple[Any, str]:
    """Return what the kernel is given by a policy, and what is said of it."""
    text = json.dumps(made)
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=None)
    policies, more = compile_policies(loaded, capabilities, None, Upkeep(unfed=True))
    found = (*loaded.found, *more)
    errors = [each for each in found if each.severity == "error"]
    given = [
        (
            dict(policy.settings),
            [(each.files, each.filters, each.targets) for each in policy.kdamonds],
        )
        for policy in policies.values()
    ]
    if errors:
        return given, "lacking" if all(each.unsupported for each in errors) else "refused"
    return given, "warned" if any(each.severity == "warning" for each in found) else ""


def verdicts(
    without: Made | None, words: Mapping[str, Made], capabilities: Capabilities
) -> dict[str, str]:
    """Return what becomes of each word of a key on a kernel."""
    made = {word: compiled(each, capabilities) for word, each in words.items()}
    first = next(iter(made.values()))
    usual_, noise = compiled(without, capabilities) if without is not None else (first[0], "")
    found = {}
    for word, (given, said) in made.items():
        same = [other for other, (tree, _) in made.items() if other != word and tree == given]
        if said and (said != noise or said != "warned"):
            found[word] = said
        elif given == usual_:
            found[word] = "default"
        else:
            spoken = [other for other in same if not made[other][1] or made[other][1] == noise]
            found[word] = "NOTHING" if spoken else "effective"
    return found


def table() -> Iterator[str]:
    """Yield the lines of the table, one for each word."""
    known = {version: EmulatedMachine.create(version) for version in KERNELS}
    able = {name: detect(machine, snapshot(machine)) for name, machine in known.items()}
    yield f"{'key':48}{'word':24}" + "".join(f"{name:11}" for name in KERNELS).rstrip()
    for key, without, words in families():
        found = [verdicts(without, words, each) for each in able.values()]
        for word in words:
            yield f"{key:48}{word:24}" + "".join(f"{each[word]:11}" for each in found).rstrip()


if __name__ == "__main__":
    print("\n".join(table()))
