"""Random policies that are valid on a kernel and on the default emulated machine."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from damonpolicy.policy.model.filters import Filter
from damonpolicy.policy.rules.coverage import coverage
from tests.world import STAT_OFF

SETTINGS = {
    "/proc/sys/vm/swappiness": ["0", "60", "100"],
    "/sys/kernel/mm/ksm/run": ["0", "1"],
    "/sys/kernel/mm/transparent_hugepage/enabled": ["always", "madvise", "never"],
}
SELECTORS = [
    {"name": "qemu-system-x86_64"},
    {"name": "nginx"},
    {"pid": "811"},
    {"cgroup": "/machine.slice"},
    {"user": "www-data"},
    {"cmdline": "guest=vm-\\d"},
    {"exe": "/usr/sbin/*"},
]
MEMCG = ["/machine.slice", "/system.slice/nginx.service", "/system.slice"]
PAGES = {"6.12": ["anon", "young"], "6.18": ["anon", "young", "active", "unmapped"]}
PAGES |= dict.fromkeys(("7.2", "7.3", "damon-next"), PAGES["6.18"])
PROBES = ("7.2", "7.3", "damon-next")
PADDR = ["stat", "pageout", "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold"]
VADDR = ["stat", "pageout", "willneed", "cold", "hugepage", "nohugepage"]


def policies(kernel):
    """Texts of policies named ``p``; JSON is YAML, and shows what was generated."""
    return documents(kernel).map(json.dumps)


def optional(**fields):
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def documents(draw, kernel):
    names = draw(st.lists(st.sampled_from("abc"), max_size=2, unique=True))
    settings = draw(optional(**{p: st.sampled_from(values) for p, values in SETTINGS.items()}))
    return {
        "version": 1,
        "name": "p",
        "kdamonds": [draw(kdamonds(kernel, name)) for name in names],
        "settings": {STAT_OFF: "N", **settings},
    }


@st.composite
def kdamonds(draw, kernel, name):
    ops = draw(st.sampled_from(["paddr", "paddr", "vaddr", "fvaddr"]))
    names = draw(st.lists(st.sampled_from("stuv"), max_size=3, unique=True))
    tuned = kernel != "6.12" and draw(st.integers(0, 3)) == 0
    result = {
        "name": name,
        "ops": ops,
        "targets": draw(targets(ops)),
        "intervals": draw(intervals(tuned=tuned)),
        "schemes": [draw(schemes(kernel, ops, each, tuned)) for each in names],
        **draw(optional(region_count=region_counts())),
    }
    if kernel in PROBES and ops == "paddr":
        result |= draw(optional(probes=probes()))
    for scheme in result["schemes"]:
        elsewhere(result, scheme)
    return result


def elsewhere(kdamond, scheme):
    """Let a scheme not move memory to where it is."""
    if kdamond["targets"] == [{"numa_node": scheme.get("to")}]:
        scheme["to"] = "0" if scheme["to"] == "1" else "1"


@st.composite
def targets(draw, ops):
    if ops == "paddr":
        nodes = draw(st.lists(st.sampled_from(["0", "1"]), max_size=2, unique=True))
        ranges = draw(regions(1 << 20, 1 << 30))
        return draw(
            st.sampled_from(
                [
                    [{"system_ram": True}],
                    [{"numa_node": node} for node in nodes or ["1"]],
                    [{"regions": ranges}],
                ]
            )
        )
    selectors = draw(st.lists(st.sampled_from(SELECTORS), min_size=1, max_size=2, unique_by=str))
    if ops == "vaddr":
        return [{"process": each} for each in selectors]
    return [
        {"process": each, "regions": draw(regions(0x7F0000000000, 0x7F0010000000))}
        for each in selectors
    ]


@st.composite
def regions(draw, low, high):
    pages = st.integers(low >> 12, (high >> 12) - 1)
    edges = sorted(draw(st.lists(pages, min_size=2, max_size=6, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [{"start": hex(start << 12), "end": hex(end << 12)} for start, end in pairs]


@st.composite
def intervals(draw, *, tuned):
    sample = draw(st.sampled_from([1_000, 5_000, 7_000, 100_000]))
    result = {
        "sample": f"{sample}us",
        "aggregation": f"{sample * draw(st.integers(2, 60))}us",
        **draw(optional(update=st.sampled_from(["1s", "1m"]))),
    }
    if tuned:
        result["auto_tune"] = {
            "observe": draw(st.sampled_from(["0.01%", "4%", "100%"])),
            "aggregations": draw(st.sampled_from(["1", "3"])),
            "min_sample": f"{draw(st.integers(500, sample))}us",
            "max_sample": f"{draw(st.integers(sample, 10_000_000))}us",
        }
    return result


@st.composite
def region_counts(draw):
    least = draw(st.integers(3, 500))
    return {"min": least, "max": draw(st.integers(least, 2000))}


@st.composite
def schemes(draw, kernel, ops, name, tuned):
    actions = PADDR if ops == "paddr" else VADDR
    action = draw(st.sampled_from(actions))
    moves = action in ("pageout", "migrate_hot", "migrate_cold")
    rate = st.tuples(st.sampled_from([0, 5, 50]), st.sampled_from([0, 50, 100])).filter(
        lambda pair: pair[0] <= pair[1]
    )
    low, high = draw(rate)
    result = {
        "name": name,
        "action": action,
        "access_pattern": {
            "access_rate": draw(st.sampled_from([{"max": f"{high}%"}, {"min": f"{low}%"}, {}])),
            "size": draw(optional(min=st.sampled_from(["4KiB", "0"]), max=st.just("1GiB"))),
            "age": draw(optional(min=ages(tuned))),
        },
        **draw(
            optional(
                apply_every=st.sampled_from(["1s", "100ms"]),
                watermarks=watermarks(),
                quota=quotas(kernel),
            )
        ),
    }
    if moves:
        result.setdefault("quota", "unlimited")
    if action.startswith("migrate"):
        result["to"] = draw(st.sampled_from(["0", "1"]))
    honoured = ops == "paddr" and not (kernel == "6.12" and action == "stat")
    if honoured:
        result["filters"] = draw(filters(kernel))
    return result


def ages(tuned):
    counted = st.sampled_from(["1 aggregation", "20 aggregations"])
    return counted if tuned else st.sampled_from(["10s", "2m", "0"]) | counted


@st.composite
def watermarks(draw):
    low, mid, high = sorted(
        draw(st.lists(st.integers(0, 1000), min_size=3, max_size=3, unique=True))
    )
    names = {"high": high, "mid": mid, "low": low}
    return {
        "metric": "free_mem_rate",
        "every": "1s",
        **{name: f"{value / 10}%" for name, value in names.items()},
    }


@st.composite
def quotas(draw, kernel):
    result = {"every": "1s", **draw(optional(time=st.sampled_from(["1ms", "20ms"])))}
    goals = [{"metric": "some_mem_psi_us", "target": "500us"}]
    if kernel != "6.12":
        goals.append({"metric": "node_mem_free_bp", "node": "1", "target": "12.34%"})
    chosen = draw(st.lists(st.sampled_from(goals), max_size=2, unique_by=str))
    if chosen or "time" not in result or draw(st.booleans()):
        result["size"] = draw(st.sampled_from(["4KiB", "128MiB"]))
    if chosen:
        result["goals"] = chosen
    return result


@st.composite
def filters(draw, kernel):
    core = st.sampled_from([{"addr": {"start": "1MiB", "end": "2MiB"}}, {"target": 0}])
    page = st.sampled_from(PAGES[kernel])
    exact = st.sampled_from(MEMCG).map(lambda path: {"memcg": {"path": path, "subtree": False}})
    what = page | exact | (page | exact).map(lambda each: {"not": each})
    result = [{"reject": each} for each in draw(st.lists(core, max_size=1))]
    result += [{"reject": each} for each in draw(st.lists(what, max_size=2))]
    if draw(st.booleans()):
        result.append({"allow": draw(what)})
    elif kernel != "6.12" and draw(st.booleans()):
        verb = draw(st.sampled_from(["allow", "reject"]))
        subtree = {"memcg": draw(st.sampled_from(MEMCG))}
        result.append({verb: draw(st.sampled_from([subtree, {"not": subtree}]))})
    return meaningful(result)


def meaningful(filters):
    """Leave out what is never asked, and all of it where nothing would be taken."""
    kept = []
    for each in filters:
        made = [Filter.model_validate(one) for one in (*kept, each)]
        if not list(coverage(made, physical=True))[-1].covered:
            kept.append(each)
    made = [Filter.model_validate(one) for one in kept]
    found = list(coverage(made, physical=True))
    vain = found and not found[-1].rest and all(one.verb == "reject" for one in made)
    return [] if vain else kept


@st.composite
def probes(draw):
    whats = [{"allow": "anon"}, {"reject": {"not": "anon"}}, {"allow": {"memcg": MEMCG[0]}}]
    names = draw(st.lists(st.sampled_from("wxyz"), max_size=3, unique=True))
    return [
        {"name": name, "filters": draw(st.lists(st.sampled_from(whats), max_size=2, unique_by=str))}
        for name in names
    ]


@st.composite
def newest(draw, kernel):
    """A policy with what only some kernels have, each as often as not what they all do."""
    kdamond = draw(kdamonds(kernel, "k"))
    scheme = draw(schemes(kernel, kdamond["ops"], "s", tuned=True))
    elsewhere(kdamond, scheme)
    if kernel in PROBES:
        kdamond |= draw(optional(paused=st.booleans()))
        scheme |= draw(optional(max_snapshots=st.sampled_from(["5", "7"])))
        if isinstance(scheme.get("quota"), dict):
            scheme["quota"] |= draw(optional(fail_charge=st.sampled_from(["1/10", "2/5"])))
        if isinstance(scheme.get("quota"), dict) and scheme["quota"].get("goals"):
            scheme["quota"] |= draw(optional(tuner=st.sampled_from(["consist", "temporal"])))
    kdamond["schemes"] = [scheme]
    if kernel == "damon-next" and kdamond["ops"] == "paddr":
        kdamond |= draw(optional(accesses=accesses()))
    settings = {STAT_OFF: "N"}
    document = {"version": 1, "name": "p", "kdamonds": [kdamond], "settings": settings}
    return json.dumps(document)


def accesses():
    return optional(
        kind=st.sampled_from(["any", "read", "write"]),
        cpus=st.sampled_from(["0", "1-2"]),
        threads=st.sampled_from([[811], [530, 815]]),
    )


def reordered(value, random):
    """The same document with the keys of every mapping in another order."""
    if isinstance(value, dict):
        items = [(key, reordered(each, random)) for key, each in value.items()]
        random.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [reordered(each, random) for each in value]
    return value
