"""Random policies, with all kinds of keys and every class of values."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from damonpolicy.emulated.system.settings import SETTINGS
from damonpolicy.kernel.damon.actions import MOVING, traits
from damonpolicy.kernel.damon.modules import ALL
from tests.world import STAT_OFF

PAGE, MIB, GIB = 4096, 1 << 20, 1 << 30
TIMES = (
    "1us",
    "999us",
    "1ms",
    "5ms",
    "7ms",
    "100ms",
    "1s",
    "30s",
    "1m",
    "2h",
    "1000h",
    "0",
    "4294967296us",
)
SIZES = ("0", "1B", "4095B", "4KiB", "1MiB", "200MiB", "3GiB", "1PiB")
COUNTS = ("0", "1", "2", "3", "10", "11", "255", "256", "1000", "65536", "4294967295")
SHARES = ("0%", "0.01%", "0.1%", "4%", "5%", "20%", "50%", "99.9%", "100%")
AGES = (
    "0",
    "1ms",
    "100ms",
    "10s",
    "2m",
    "1 aggregation",
    "20 aggregations",
    "4294967295 aggregations",
)
RATES = ("0%", "1%", "5%", "50%", "100%", "1 sample", "5 samples", "20 samples", "300 samples")
USUAL = (
    (TIMES, ("1ms", "5ms", "100ms", "1s", "30s")),
    (SIZES, ("4KiB", "1MiB", "200MiB")),
    (COUNTS, ("3", "10", "11", "1000")),
    (SHARES, ("0.1%", "5%", "20%", "50%")),
    (AGES, ("10s", "2m", "1 aggregation", "20 aggregations")),
    (RATES, ("5%", "50%", "100%")),
)
"""What is in place nearly everywhere: most policies take only such values, so that they are valid."""
WORDS = (
    "0", "1", "2", "3", "7", "8", "10", "50", "60", "100", "101", "200", "201", "256", "511", "512", "1000",
    "3001", "8192", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
    "18446744073709551615", "18446744073709551616", "-1", "-5", "00", "010", "+1", "0x10", "0x0007", "1.5",
    "true", "false", "yes", "No", "on", "off", "Y", "n", "enable", "always", "madvise", "never", "inherit",
    "defer", "defer+madvise", "within_size", "advise", "none", "scan-time", "lzo", "", " 100 ", "1 2",
    "256 256 32 0 0", "always [madvise] never", "\u0663", "many",
)  # fmt: skip
"""Every class of values that a setting may be given, odd ones too."""

PATHS = tuple(each.path for each in (*SETTINGS, *ALL))
ACTIONS = (
    "stat", "stat", "pageout", "willneed", "cold", "hugepage", "nohugepage", "collapse", "lru_prio",
    "lru_deprio", "migrate_hot", "migrate_cold",
)  # fmt: skip
METRICS = (
    "user_input", "some_mem_psi_us", "node_mem_used_bp", "node_mem_free_bp", "node_memcg_used_bp",
    "node_memcg_free_bp", "active_mem_bp", "inactive_mem_bp", "node_eligible_mem_bp", "hugepage_mem_bp",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """What a machine has that policies may name."""

    processes: tuple[dict[str, str], ...]
    cgroups: tuple[str, ...]
    nodes: tuple[str, ...] = ("0", "1")
    threads: tuple[str, ...] = ("811", "812")
    cpus: tuple[str, ...] = ("0", "0-1")
    unsafe: frozenset[str] = frozenset()
    """Settings that are left alone."""
    times: tuple[str, ...] = TIMES
    """A real kdamond ends once it wakes up: there no time may be long."""
    samples: tuple[int, ...] = (1, 1_000, 5_000, 7_000, 100_000, 10_000_000)


EMULATED = Place(
    ({"name": "nginx"}, {"name": "qemu-system-x86_64"}, {"pid": "811"}, {"user": "www-data"},
     {"cgroup": "/machine.slice"}, {"exe": "/usr/sbin/*"}, {"cmdline": "guest=vm"}),
    ("/machine.slice", "/system.slice/nginx.service", "/system.slice"),
)  # fmt: skip


class Maker:
    """Makes one policy from a seed."""

    def __init__(self, seed: str, place: Place) -> None:
        self.any = random.Random(seed)
        self.place = place
        self.odd = self.often(0.3)

    def pick(self, choices: Any) -> Any:
        if choices is TIMES and self.place.times is not TIMES:
            return self.any.choice(self.place.times)
        usual = next((few for all_, few in USUAL if all_ is choices), choices)
        return self.any.choice(choices if self.odd else usual)

    def often(self, share: float = 0.5) -> bool:
        return self.any.random() < share

    def some(self, share: float, **choices: Any) -> dict[str, Any]:
        """Each key by its chance; what can be called makes the value."""
        return {
            key.rstrip("_"): made() if callable(made) else self.pick(made)
            for key, made in choices.items()
            if self.often(share)
        }

    def policy(self) -> dict[str, Any]:
        made: dict[str, Any] = {"version": "1", "name": "p"}
        kind = self.any.random()
        if kind < 0.25:
            made["settings"] = self.settings()
        elif kind < 0.4:
            made["modules"] = self.modules()
            if "damon_stat" not in made["modules"]:
                made["settings"] = {STAT_OFF: "N"}
        else:
            made["settings"] = {STAT_OFF: "N", **(self.settings() if self.often(0.1) else {})}
            made["kdamonds"] = [self.kdamond(name) for name in "kl"[: 2 if self.often(0.2) else 1]]
        return made

    def settings(self) -> dict[str, str]:
        paths = [each for each in PATHS if each not in self.place.unsafe]
        chosen = self.any.sample(paths, 2 if self.often(0.2) else 1)
        return {path: self.value(path) for path in chosen}

    def value(self, path: str) -> str:
        known = next((each for each in SETTINGS if each.path == path), None)
        near = (
            [str(n) for n in (known.least, known.most, known.least - 1, known.most + 1)]
            if known
            else []
        )
        near += list(known.words) if known else ["Y", "N"]
        return str(self.pick(near) if self.often(0.3 if self.odd else 0.8) else self.pick(WORDS))

    def modules(self) -> dict[str, Any]:
        name = self.pick(("damon_reclaim", "damon_lru_sort", "damon_stat"))
        if name == "damon_stat":
            return {name: {"enabled": self.pick(("true", "false"))}}
        made = self.some(
            0.25 if self.odd else 0.1, sample_interval=TIMES, aggr_interval=TIMES, min_nr_regions=COUNTS,
            max_nr_regions=COUNTS, quota_ms=("unlimited", "10ms", "1s", "1h"),
            quota_reset_interval_ms=TIMES, wmarks_interval=TIMES, wmarks_high=SHARES, wmarks_mid=SHARES,
            wmarks_low=SHARES, addr_unit=("1", "2", "4096", "1048576", "3"),
            autotune_monitoring_intervals=("true", "false"),
        )  # fmt: skip
        if self.often(0.3):
            start = self.any.randint(0, 1 << 20) * PAGE
            made |= {
                "monitor_region_start": hex(start),
                "monitor_region_end": hex(start + self.pick((0, PAGE, GIB))),
            }
        if name == "damon_reclaim":
            made |= self.some(
                0.3, min_age=TIMES, quota_sz=("unlimited", "1MiB", "1B"), quota_mem_pressure_us=TIMES,
                skip_anon=("true", "false"), quota_autotune_feedback=COUNTS,
            )  # fmt: skip
        else:
            made |= self.some(
                0.3, hot_thres_access_freq=SHARES, cold_min_age=TIMES, active_mem_bp=SHARES,
                filter_young_pages=("true", "false"),
            )  # fmt: skip
        return {name: {"enabled": self.pick(("true", "true", "false")), **made}}

    def kdamond(self, name: str) -> dict[str, Any]:
        ops = self.pick(("paddr", "paddr", "vaddr", "fvaddr"))
        made = {
            "name": name,
            "ops": ops,
            "targets": self.targets(ops),
            "intervals": self.intervals(),
        }
        made |= self.some(
            0.15 if self.odd else 0.07, region_count=self.region_count, refresh=TIMES, paused=("true", "false"),
            commit_every=TIMES, accesses=self.accesses, addr_unit=("1", "2", "4096", "1048576"),
            temperature=self.weights, when_absent=("fail",) if ops == "paddr" else ("wait", "fail"),
        )  # fmt: skip
        if self.often(0.2 if self.odd else 0.05):
            made["probes"] = [self.probe(each) for each in "wxyz"[: self.any.randint(1, 4)]]
        made["schemes"] = [self.scheme(ops, each) for each in "stu"[: self.pick((0, 1, 1, 2, 3))]]
        return made

    def targets(self, ops: str) -> list[dict[str, Any]]:
        if ops == "paddr":
            kinds = ([{"system_ram": "true"}], [{"numa_node": each} for each in self.place.nodes],
                     [{"regions": self.regions(0, 1 << 18)}])  # fmt: skip
            return list(self.pick(kinds))
        made = []
        for each in self.any.sample(self.place.processes, self.pick((1, 1, 2))):
            regions = {"regions": self.regions(1 << 30, 1 << 31)} if ops == "fvaddr" else {}
            made.append({"process": each, **regions})
        return made

    def regions(self, low: int, high: int) -> list[dict[str, str]]:
        """In bytes, mostly of whole pages; some touch, some share a page, some are tiny."""
        edges = sorted(
            self.any.randrange(low, high) * PAGE for _ in range(2 * self.pick((1, 1, 2, 3)))
        )
        if self.often(0.2):
            edges[-1] = edges[-2] + self.pick((1, 100, PAGE - 1, PAGE))
        if self.often(0.2) and len(edges) > 2:
            edges[2] = edges[1] + self.pick((0, 1, PAGE))
        return [
            {"start": hex(a), "end": hex(b)} for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]

    def intervals(self) -> dict[str, Any]:
        sample = self.pick(self.place.samples)
        made: dict[str, Any] = {
            "sample": f"{sample}us",
            "aggregation": f"{sample * self.pick((1, 2, 20, 256, 300))}us",
        }
        if self.odd:
            made |= self.some(0.2, update=TIMES, sample=TIMES, aggregation=TIMES)
        if self.often(0.2):
            made["auto_tune"] = {
                "observe": self.pick(SHARES), "aggregations": self.pick(COUNTS),
                "min_sample": self.pick(("1us", "1ms", "5ms")), "max_sample": self.pick(("10ms", "10s", "1h")),
            }  # fmt: skip
        return made

    def region_count(self) -> dict[str, str]:
        return {"min": self.pick(COUNTS[:7]), "max": self.pick(COUNTS[3:])}

    def accesses(self) -> dict[str, Any]:
        return self.some(
            0.4, kind=("any", "read", "write"), cpus=self.place.cpus,
            threads=lambda: self.any.sample(self.place.threads, 1),
            primitive=("page_table", "page_fault"), optional=("true", "false"),
        )  # fmt: skip

    def weights(self) -> dict[str, str]:
        numbers = ("0", "1", "1000")
        return self.some(0.7, size=numbers, access_rate=numbers, age=numbers)

    def probe(self, name: str) -> dict[str, Any]:
        made = {"name": name, "filters": [self.filter() for _ in range(self.pick((0, 1, 1, 2)))]}
        preps = lambda: ["set_pgidle"]  # noqa: E731
        return made | self.some(
            0.2, weight=("0", "1", "1000", "4294967295"), preps=preps, optional=("true",)
        )

    def filter(self) -> dict[str, Any]:
        start = self.any.randrange(1 << 18) * PAGE + self.pick((0, 0, 1))
        what = self.pick((
            "anon", *(("anon",) * (0 if self.odd else 9)), "young", "active", "unmapped", "pgidle_unset", "pgidle_set",
            {"memcg": self.pick(self.place.cgroups)},
            {"memcg": {"path": self.pick(self.place.cgroups), "subtree": self.pick(("true", "false"))}},
            {"addr": {"start": str(start), "end": str(start + self.pick((0, 1, PAGE, GIB)))}},
            {"target": self.pick(("0", "1", "4294967295"))},
            {"hugepage_size": {"min": self.pick(SIZES), "max": self.pick(SIZES)}},
            {"probe_hits_wsum": {"min": self.pick(COUNTS), "max": self.pick(COUNTS)}},
        ))  # fmt: skip
        return {
            self.pick(("allow", "reject", "reject")): {"not": what} if self.often(0.3) else what
        }

    def scheme(self, ops: str, name: str) -> dict[str, Any]:
        action = self.pick(ACTIONS)
        if not self.odd and not traits(ops, action).works:
            action = "stat"
        pattern = self.some(
            0.5, size=lambda: self.some(0.3, min=SIZES, max=SIZES),
            access_rate=lambda: self.some(0.3, min=RATES, max=RATES),
            age=lambda: self.some(0.3, min=AGES, max=AGES),
        )  # fmt: skip
        made: dict[str, Any] = {"name": name, "action": action, "access_pattern": pattern}
        if self.often(0.6) or (not self.odd and action in MOVING):
            made["quota"] = self.pick(("unlimited", self.quota()))
        if action.startswith("migrate"):
            nodes = self.place.nodes
            weighted = [{"node": each, "weight": self.pick(("0", "1", "1000"))} for each in nodes]
            made["to"] = weighted if ops != "paddr" and self.often() else self.pick(nodes)
        made |= self.some(
            0.15 if self.odd else 0.25, apply_every=TIMES, watermarks=self.watermarks, max_snapshots=COUNTS,
            young=("first", "last"), filters_in=("layers", "filters"),
            filters=lambda: [self.filter() for _ in range(self.pick((1, 1, 2, 3)))],
        )  # fmt: skip
        return made

    def quota(self) -> dict[str, Any]:
        made = {
            "every": self.pick(("1s", "1ms", "1h", *(("500us", "0") if self.odd else ()))),
            **self.some(0.3, time=TIMES),
        }
        if "time" not in made or self.often():
            made["size"] = self.pick((*SIZES, "unlimited"))
        made |= self.some(0.2, weights=self.weights, fail_charge=("0/1", "1/10", "1/1", "2/1"))
        if self.often(0.3):
            made["goals"] = [self.goal() for _ in range(self.pick((1, 1, 2)))]
            made |= self.some(0.3, tuner=("consist", "temporal"))
        return made

    def goal(self) -> dict[str, Any]:
        metric = self.pick(METRICS)
        target = TIMES if metric.endswith("_us") else SHARES if metric.endswith("_bp") else COUNTS
        made = {"metric": metric, "target": self.pick(target)}
        if metric.startswith("node_"):
            made["node"] = self.pick(self.place.nodes)
        if "memcg" in metric:
            made["cgroup"] = self.pick(self.place.cgroups)
        return made | self.some(0.15, complement=("true", "false"))

    def watermarks(self) -> dict[str, str]:
        marks = sorted(self.any.sample(range(1001), 3), reverse=True)
        names = zip(("high", "mid", "low"), marks, strict=True)
        return {
            "metric": self.pick(("none", "free_mem_rate", "free_mem_rate")), "every": self.pick(TIMES),
            **{name: f"{mark / 10}%" for name, mark in names},
        }  # fmt: skip
