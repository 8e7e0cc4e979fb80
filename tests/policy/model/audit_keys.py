"""Audit of keys without a file of the kernel, and of keys that need one another.

    python -m tests.policy.model.audit_keys

Such keys choose (`when`, `targets`, `filters`), or are the service's (`tuning`, `from`, `on_drift`).
A value is `effective` where the compiled policy differs from the one without the key and from those
of all other values; `noted` where the plan says that it changes nothing; `default` where it is one
of `DEFAULTS`. The other verdicts are those of `tests.policy.model.audit`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source.files import SourceFile
from tests.policy.model.audit import KERNELS, usual
from tests.policy.model.audit_words import Made, policy, scheme

_VADDR = {"ops": "vaddr", "targets": [{"process": {"name": "nginx"}}]}
_PAGES = "/sys/kernel/mm/ksm/pages_to_scan"
_SETTING = {"settings": {_PAGES: "500"}}
_LOOP = {
    "name": "l",
    "setting": _PAGES,
    "from": {"ksm": "pages_shared"},
    "target": "70",
    "bounds": {"min": "100", "max": "900"},
}
_QUOTA = {"size": "1MiB", "every": "1s"}
_AGE = {"access_pattern": {"age": {"min": "1m"}}}
_TUNE = {"intervals": {"auto_tune": {
    "observe": "4%", "aggregations": "3", "min_sample": "5ms", "max_sample": "10s"}}}  # fmt: skip
_SOURCES: dict[str, dict[str, Any]] = {
    "file": {"file": "/run/number"},
    "psi": {"psi": "memory"},
    "vmstat": {"vmstat": "pgfault"},
    "memory_stat": {"memory_stat": "anon", "cgroup": "/machine.slice"},
    "ksm": {"ksm": "pages_shared"},
    "scheme": {"scheme": "k/s"},
    "exporter": {"exporter": "http://127.0.0.1:9100/metrics", "series": "node_load1"},
    "prometheus": {"prometheus": "http://127.0.0.1:9090", "query": "up"},
    "command": {"command": ["/usr/bin/true"]},
}
DEFAULTS = {
    ("commit_every", "500ms"), ("when_absent", "fail"), ("schemes.filters_in", "layers"),
    ("schemes.young", "first"), ("on_drift", "report"), ("tuning.name", "l"),
    ("tuning.setting", _PAGES), ("tuning.effect", "raises"), ("tuning.every", "10s"),
    ("tuning.step", "25%"), ("tuning.dead_band", "5%"), ("tuning.fall_back", "100"),
    ("tuning.fall_back_after", "300s"), ("together", "page_table, any"),
    ("from", "file"), ("targets.process", "name nginx"), ("quota.goals.cgroup", "/"),
}  # fmt: skip
"""What a key says that is left out, or that stands in the policy that others are compared with."""
_USUAL = {"as": "value", "times": "1", "stale_after": "1m"}


def is_default(key: str, value: str) -> bool:
    """Return whether nothing is to change: by a default, or by what only other kernels need."""
    if key.endswith((".optional", "when")):
        return True
    name = key.partition(" of ")[0].rpartition(".")[2]
    return (key, value) in DEFAULTS or (" of " in key and _USUAL.get(name) == value)


def fed(source: Made) -> dict[str, Any]:
    """Return a policy with a goal that gets its number from somewhere."""
    goal = {"metric": "user_input", "target": "700", "from": source}
    return scheme(action="pageout", quota={**_QUOTA, "goals": [goal]})


def loop(**more: Any) -> dict[str, Any]:
    """Return a policy with a loop; a value of None leaves a key out."""
    made = {key: value for key, value in {**_LOOP, **more}.items() if value is not None}
    return policy(copy.deepcopy(usual("")), **_SETTING, tuning=[made])


def measuring(source: Made) -> dict[str, Any]:
    """Return a policy with a loop that gets its number from somewhere."""
    return loop(**{"from": source})


def kdamond(**more: Any) -> dict[str, Any]:
    """Return a policy of one kdamond."""
    return scheme({**usual(""), **more})


def matching(where: str, verb: str, what: Any) -> dict[str, Any]:
    """Return a policy with a filter of a scheme or of a probe."""
    if where == "probe":
        return kdamond(probes=[{"name": "p", "weight": "1", "filters": [{verb: what}]}])
    return scheme(filters=[{verb: what}])


def families() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    """Yield keys, the policy without each, and a policy for each of its values."""
    yield from _chosen()
    yield from _targets()
    yield from _filters()
    yield from _fed()
    yield from _loops()
    yield from _together()


def _chosen() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    plain = scheme()
    yield "accesses.cpus.numa_node", plain, {
        each: kdamond(accesses={"cpus": {"numa_node": each}}) for each in ("0", str(U32_MAX))
    }  # fmt: skip
    yield "accesses.threads", plain, {
        name: kdamond(accesses={"threads": each})
        for name, each in {"none": [], "0": ["0"], "1": ["1"], "2^31": [str(1 << 31)]}.items()
    }  # fmt: skip
    yield "accesses.optional", kdamond(accesses={"kind": "write"}), {
        each: kdamond(accesses={"kind": "write", "optional": each}) for each in ("false", "true")
    }  # fmt: skip
    yield "commit_every", plain, {
        each: kdamond(commit_every=each) for each in ("0", "1us", "500ms", "7h", f"{U64_MAX + 1}us")
    }  # fmt: skip
    yield "when_absent", kdamond(**_VADDR), {
        each: kdamond(**_VADDR, when_absent=each) for each in ("fail", "wait")
    }  # fmt: skip
    for level, made in {"": kdamond, "schemes.": scheme}.items():
        yield f"{level}when", plain, {
            f"{key} {feature}": made(when={key: feature})
            for key in ("feature", "not")
            for feature in ("quota", "action.collapse", "no_such")
        }  # fmt: skip
    yield "temperature", plain, {
        "all 0": kdamond(temperature={"access_rate": "0", "age": "0"}),
        "size": kdamond(temperature={"size": "1"}),
        "access_rate": kdamond(temperature={"access_rate": "7"}),
        "age": kdamond(temperature={"age": "7"}),
        "beyond": kdamond(temperature={"age": str(U32_MAX + 1)}),
    }  # fmt: skip
    yield "probes", plain, {
        "no filter": kdamond(probes=[{"name": "p"}]),
        "preps": kdamond(probes=[{"name": "p", "preps": ["set_pgidle"]}]),
        "preps twice": kdamond(probes=[{"name": "p", "preps": ["set_pgidle", "set_pgidle"]}]),
        "optional": kdamond(probes=[{"name": "p", "weight": "1", "optional": "true"}]),
    }  # fmt: skip
    yield "schemes.filters_in", scheme(filters=[{"reject": "anon"}]), {
        each: scheme(filters=[{"reject": "anon"}], filters_in=each)
        for each in ("layers", "filters")
    }  # fmt: skip
    reclaim = scheme(action="pageout", quota=_QUOTA)
    yield "schemes.young", reclaim, {
        each: scheme(action="pageout", quota=_QUOTA, young=each) for each in ("first", "last")
    }  # fmt: skip
    yield "schemes.retune_age", scheme({**usual(""), **_TUNE}), {
        "false": scheme({**usual(""), **_TUNE}, **_AGE, retune_age="false"),
        "true": scheme({**usual(""), **_TUNE}, **_AGE, retune_age="true"),
    }  # fmt: skip
    yield "quota.tuner.optional", None, {
        each: scheme(action="pageout", quota={**_QUOTA, "goals": [
            {"metric": "some_mem_psi_us", "target": "1ms"}],
            "tuner": {"name": "temporal", "optional": each}}) for each in ("true", "false")
    }  # fmt: skip
    yield "quota.goals.cgroup", None, {
        each: scheme(action="pageout", quota={**_QUOTA, "goals": [
            {"metric": "node_memcg_used_bp", "node": "0", "target": "7%", "cgroup": each}]})
        for each in ("/", "/machine.slice", "machine", "/a*")
    }  # fmt: skip
    used = {"metric": "node_mem_used_bp", "node": "0", "target": "7%"}
    yield "quota.goals.optional", scheme(action="pageout", quota={**_QUOTA, "goals": [used]}), {
        each: scheme(action="pageout", quota={**_QUOTA, "goals": [{**used, "optional": each}]})
        for each in ("false", "true")
    }  # fmt: skip
    collapsing = scheme({**usual(""), **_VADDR}, action="collapse")
    yield "schemes.optional", collapsing, {
        each: scheme({**usual(""), **_VADDR}, action="collapse", optional=each)
        for each in ("false", "true")
    }  # fmt: skip
    yield "on_drift", policy(usual("")), {
        each: policy(usual(""), on_drift=each) for each in ("report", "repair")
    }  # fmt: skip
    yield "settings", policy(usual("")), {
        value: policy(usual(""), settings={_PAGES: value})
        for value in ("0", "1", str(U32_MAX), str(U64_MAX + 1), "on", "")
    }  # fmt: skip


def _targets() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    yield "targets (paddr)", None, {
        name: kdamond(targets=each)
        for name, each in {
            "none": [], "system_ram true": [{"system_ram": "true"}],
            "system_ram false": [{"system_ram": "false"}], "numa_node 0": [{"numa_node": "0"}],
            "numa_node 2^32": [{"numa_node": str(U32_MAX + 1)}], "regions none": [{"regions": []}],
            "twice": [{"system_ram": "true"}, {"system_ram": "true"}],
            "within": [{"system_ram": "true"}, {"numa_node": "0"}],
            "process": [{"process": {"name": "nginx"}}],
        }.items()
    }  # fmt: skip
    yield "targets.process", None, {
        f"{key} {value}": kdamond(ops="vaddr", targets=[{"process": {key: value}}])
        for key, values in {
            "name": ("nginx", "a-name-that-is-longer-than-the-kernel-keeps", ""),
            "cmdline": ("--db", "^", "("), "exe": ("/bin/a", "/bin/*", "a"), "user": ("db", "0"),
            "cgroup": ("/a.slice", "/a-*.slice", "/"), "unit": ("a.service", "a", "a.mount"),
            "pid": ("0", "1", "4194304", str(1 << 31)),
        }.items()
        for value in values
    }  # fmt: skip


def _filters() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    whats: dict[str, Any] = {
        "not anon": {"not": "anon"}, "not not": {"not": {"not": "anon"}},
        "path": {"memcg": "/a.slice"}, "path mapping": {"memcg": {"path": "/b.slice"}},
        "subtree false": {"memcg": {"path": "/a.slice", "subtree": "false"}},
        "subtree of root": {"memcg": "/"}, "pattern": {"memcg": "/a-*.slice"},
        "unit": {"memcg": {"unit": "a.service"}},
        "path and unit": {"memcg": {"path": "/a.slice", "unit": "a.service"}},
        "addr": {"addr": {"start": "1MiB", "end": "2MiB"}},
        "addr empty": {"addr": {"start": "1MiB", "end": "1MiB"}}, "target": {"target": "0"},
        "target beyond": {"target": "7"},
        "hugepage_size": {"hugepage_size": {"min": "2MiB", "max": "2MiB"}},
        "probe_hits_wsum": {"probe_hits_wsum": {"min": "1", "max": "7"}},
        "probe_hits_wsum all": {"probe_hits_wsum": {"min": "0", "max": str(U32_MAX)}},
        "probe_hits_wsum none": {"probe_hits_wsum": {"min": "7", "max": "1"}},
    }  # fmt: skip
    for where, without in {"scheme": scheme(), "probe": kdamond(
            probes=[{"name": "p", "weight": "1"}])}.items():  # fmt: skip
        for verb in ("reject", "allow"):
            made = {
                name: matching(where, verb, copy.deepcopy(each)) for name, each in whats.items()
            }
            yield f"{verb} of a {where}", without, made
    tracked = kdamond(probes=[{"name": "p", "weight": "1", "filters": [{"allow": "anon"}]}])
    with_hits = copy.deepcopy(tracked)
    with_hits["kdamonds"][0]["schemes"][0]["filters"] = [{"allow": whats["probe_hits_wsum"]}]
    yield "filters.probe_hits_wsum", tracked, {"of a probe": with_hits}


def _fed() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    yield "from", None, {kind: fed(source) for kind, source in _SOURCES.items()}
    for kind, source in _SOURCES.items():
        base = {key: value for key, value in source.items() if key not in ("series", "query")}
        extras = {"key": "a", "share": "full", "cgroup": "/a.slice", "statistic": "passed",
                  "series": "a", "query": "a"}  # fmt: skip
        for where, made in {"goals": fed, "tuning": measuring}.items():
            yield f"{where}.from {kind}, belongs", made(source), {
                name: made({**base, name: value}) for name, value in extras.items()
            }  # fmt: skip
            for key, values in {
                "as": ("value", "rate"), "times": ("0", "1", "7"), "every": ("0", "7s"),
                "stale_after": ("0", "7s", "1m"),
            }.items():  # fmt: skip
                yield f"{where}.from.{key} of {kind}", made(source), {
                    value: made({**source, key: value}) for value in values
                }  # fmt: skip


def _loops() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    values: dict[str, tuple[Any, ...]] = {
        "name": ("l", "m"), "setting": (_PAGES, "/sys/kernel/mm/ksm/sleep_millisecs"),
        "quota": ("k/s",), "target": ("0", "7"), "effect": ("raises", "lowers"),
        "every": ("0", "10s", "7s"), "step": ("0%", "25%", "100%", "101%"),
        "dead_band": ("0%", "5%", "99%", "100%"), "fall_back": ("0", "100", "300", "901"),
        "fall_back_after": ("0", "300s", "7s"),
        "bounds": ({"min": "7", "max": "900"}, {"min": "100", "max": "700"},
                   {"min": "9", "max": "9"}, {"min": "600", "max": "900"}),
    }  # fmt: skip
    for key, each in values.items():
        yield f"tuning.{key}", loop(), {
            str(value).replace("'", ""): loop(**{key: value}) for value in each
        }  # fmt: skip
    yield "tuning.target, without", loop(), {"none": loop(target=None)}
    moved = scheme(action="pageout", quota=_QUOTA)
    bare = {key: value for key, value in _LOOP.items() if key != "setting"}
    yield "tuning.quota, alone", moved, {
        "k/s": {**moved, "tuning": [bare | {"quota": "k/s", "bounds": {
            "min": "1MiB", "max": "9MiB"}}]}
    }  # fmt: skip
    yield "tuning.from", loop(), {
        kind: loop(**{"from": source}) for kind, source in _SOURCES.items() if kind != "ksm"
    }  # fmt: skip


def _together() -> Iterator[tuple[str, Made | None, dict[str, Made]]]:
    """Yield keys that say nothing without another one, or beside it."""
    plain, reclaim = scheme(), scheme(action="pageout", quota=_QUOTA)
    timed, tuned = scheme(**_AGE), {**usual(""), **_TUNE}
    counts = {"age": {"min": "9 aggregations"}}
    goal = {"metric": "some_mem_psi_us", "target": "1ms"}
    tuning = scheme(action="pageout", quota={**_QUOTA, "goals": [goal]})

    def aiming(**more: Any) -> dict[str, Any]:
        return scheme(action="pageout", quota={**_QUOTA, "goals": [goal | more]})

    pairs: dict[str, tuple[Made, Made]] = {
        "retune_age, no ages": (scheme(tuned), scheme(tuned, retune_age="true")),
        "retune_age, not tuned": (timed, scheme(**_AGE, retune_age="true")),
        "retune_age, counts": (scheme(tuned, access_pattern=counts),
                               scheme(tuned, access_pattern=counts, retune_age="true")),
        "to, no migration": (plain, scheme(to="1")),
        "when_absent, all memory": (plain, kdamond(when_absent="wait")),
        "young, not pageout": (plain, scheme(young="last")),
        "filters_in, no filters": (plain, scheme(filters_in="filters")),
        "every alone": (scheme(action="pageout", quota="unlimited"),
                        scheme(action="pageout", quota={"every": "7s"})),
        "tuner, no goals": (reclaim, scheme(
            action="pageout", quota={**_QUOTA, "tuner": "temporal"})),
        "weights, no limit": (scheme(action="pageout", quota="unlimited"), scheme(
            action="pageout", quota={"weights": {"age": "7"}})),
        "fail_charge, no limit": (scheme(action="pageout", quota="unlimited"), scheme(
            action="pageout", quota={"fail_charge": "1/2"})),
        "quota of stat": (plain, scheme(quota=_QUOTA)),
        "goals, unlimited": (reclaim, scheme(
            action="pageout", quota={"size": "unlimited", "goals": [goal]})),
        "from, not fed": (tuning, aiming(**{"from": _SOURCES["ksm"]})),
        "cgroup, not its": (tuning, aiming(cgroup="/a.slice")),
        "node, not its": (tuning, aiming(node="0")),
        "complement, time": (tuning, aiming(complement="true")),
        "watermarks, none": (plain, scheme(watermarks={"metric": "none", "high": "60%"})),
        "apply_every < sample": (plain, scheme(apply_every="1ms")),
        "region_count, swapped": (plain, kdamond(region_count={"min": "20", "max": "10"})),
        "update < aggregation": (kdamond(intervals={"aggregation": "1s"}), kdamond(
            intervals={"aggregation": "1s", "update": "100ms"})),
        "page_table, any": (plain, kdamond(accesses={"primitive": "page_table"})),
        "page_table, cpus": (plain, kdamond(accesses={"cpus": "0", "primitive": "page_table"})),
        "fvaddr, no regions": (kdamond(**_VADDR), kdamond(**_VADDR | {"ops": "fvaddr"})),
        "stale_after, /proc": (fed({"file": "/proc/loadavg"}), fed(
            {"file": "/proc/loadavg", "stale_after": "7s"})),
        "effect, no target": (loop(target=None), loop(target=None, effect="lowers")),
        "on_drift alone": (plain, {"version": "1", "name": "p", "on_drift": "repair"}),
    }  # fmt: skip
    for name, (without, made) in pairs.items():
        yield "together", without, {name: made}


def compiled(made: Made, capabilities: Capabilities) -> tuple[Any, str]:
    """Return what the kernel and the service are given, and what is said of it."""
    loaded = load([SourceFile("p.yaml", json.dumps(made))], Overrides(), machine=None)
    policies, more = compile_policies(loaded, capabilities, None, Upkeep(unfed=False, served=True))
    found = (*loaded.found, *more)
    errors = [each for each in found if each.severity == "error"]
    given = [each.to_json() | {"source": "", "variables": {}} for each in policies.values()]
    if errors:
        return given, "lacking" if all(each.unsupported for each in errors) else "refused"
    for word, severity in {"warned": "warning", "noted": "note"}.items():
        if any(each.severity == severity for each in found):
            return given, word
    return given, ""


def verdicts(
    key: str, without: Made | None, values: Mapping[str, Made], capabilities: Capabilities
) -> dict[str, str]:
    """Return what becomes of each value of a key on a kernel."""
    made = {value: compiled(each, capabilities) for value, each in values.items()}
    first = next(iter(made.values()))
    start, noise = compiled(without, capabilities) if without is not None else (first[0], "")
    found = {}
    for value, (given, said) in made.items():
        twins = [other for other, (tree, _) in made.items() if other != value and tree == given]
        if said in ("refused", "lacking") or (said == "warned" and noise != said):
            found[value] = said
        elif given != start:
            spoken = [other for other in twins if made[other][1] not in ("refused", "lacking")]
            found[value] = "NOTHING" if spoken else "effective"
        elif said and said != noise:
            found[value] = "noted"
        else:
            found[value] = "default" if is_default(key, value) else "NOTHING"
    return found


def table() -> Iterator[str]:
    """Yield the lines of the table, one for each value."""
    known = {version: EmulatedMachine.create(version) for version in KERNELS}
    able = {name: detect(machine, snapshot(machine)) for name, machine in known.items()}
    yield f"{'key':36}{'value':52}" + "".join(f"{name:11}" for name in KERNELS).rstrip()
    for key, without, values in families():
        found = [verdicts(key, without, values, each) for each in able.values()]
        for value in values:
            shown = value or "(empty)"
            yield f"{key:36}{shown:52}" + "".join(f"{each[value]:11}" for each in found).rstrip()


if __name__ == "__main__":
    print("\n".join(table()))
