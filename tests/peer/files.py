"""Random files as damo, its users and programs write them: numbers in every form."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

__all__ = ("File",)

U64 = (1 << 64) - 1
PADDR = ("pageout", "stat", "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold")
VADDR = ("pageout", "stat", "willneed", "cold", "hugepage", "nohugepage")
SHARES = ("node_mem_used_bp", "node_mem_free_bp", "active_mem_bp", "inactive_mem_bp")


class File:
    """One file: its plain data, its text, and how damo would take it."""

    def __init__(self, seed: int) -> None:
        self.any = random.Random(seed)
        self.listed = self.often(0.2)
        self.form = "json" if self.listed or self.often(0.6) else "yaml"
        self.paddr = self.listed or self.often(0.6)
        if self.listed:
            self.data: Any = [self.scheme() for _ in range(self.any.randint(1, 3))]
        else:
            self.data = {"kdamonds": [self.kdamond() for _ in range(self.any.choice((1, 1, 2)))]}
        self.text = (
            json.dumps(self.data, indent=self.any.choice((None, 1, 4)))
            if self.form == "json"
            else yaml.safe_dump(self.data, sort_keys=self.often())
        )

    def often(self, share: float = 0.5) -> bool:
        return self.any.random() < share

    def pick(self, *values: Any) -> Any:
        return self.any.choice(values)

    def some(self, made: dict[str, Any]) -> dict[str, Any]:
        """Now and then leave a key out, make it null, or add one that says nothing."""
        if self.often(0.008):
            made.pop(self.any.choice(list(made)), None)
        if made and self.often(0.008):
            made[self.any.choice(list(made))] = None
        if self.often(0.05):
            made[self.pick("comments", "name", "why", "_")] = self.pick("for tests", 1, "", True)
        return made

    def number(self, value: int) -> Any:
        return self.pick(value, str(value), f"{value:,}", f"{value}.0", float(value))

    def count(self, *values: int) -> Any:
        return self.number(self.any.choice(values))

    def size(self, *values: int) -> Any:
        value = self.any.choice(values)
        units = {"B": 1, "K": 1 << 10, "KiB": 1 << 10, "M": 1 << 20, "MB": 1 << 20, "MiB": 1 << 20,
                 "G": 1 << 30, "GiB": 1 << 30}  # fmt: skip
        unit = self.any.choice(list(units))
        wide = value / units[unit]
        return self.pick(self.number(value), self.number(value), f"{value} B",
                         f"{wide:.3f} {unit}" if wide >= 0.01 else value, f"{wide}{unit}"
                         if "e" not in str(wide) else value)  # fmt: skip

    def time(self, micro: int, bare: int = 1) -> Any:
        """Return a time; ``bare`` is what a bare number counts, in microseconds."""
        ways = [f"{micro} us", f"{micro}us", f"{micro / 1000} ms", f"{micro / 1000:.3f} ms",
                f"{micro * 1000:,} ns"]  # fmt: skip
        if micro % bare == 0:
            ways += [micro // bare, str(micro // bare), f"{micro // bare:,}", float(micro // bare)]
        if micro >= 1_000_000:
            seconds, rest = divmod(micro, 1_000_000)
            ways += [f"{micro / 1e6} s", f"{seconds} s {rest} us", f"{seconds}s"]
        if micro >= 60_000_000:
            ways += [f"{micro // 60_000_000} m {micro // 1_000_000 % 60} s", f"{micro / 6e7} m"]
        return self.pick(*[each for each in ways if "e" not in str(each)])

    def share(self, parts: int, bare: int) -> Any:
        """Return a share of so many parts in thousand; a bare number counts ``bare`` in whole."""
        percent = parts / 10
        return self.pick(f"{percent} %", f"{percent:g}%", f"{percent:.7f} %", f"{percent:g} %",
                         self.number(parts * bare // 1000))  # fmt: skip

    def kdamond(self) -> dict[str, Any]:
        made: dict[str, Any] = {"contexts": [self.context()]}
        if self.often():
            made |= {"state": self.pick("on", "off", None), "pid": self.pick(None, 7, "7")}
        if self.often():
            made["refresh_ms"] = self.pick(0, "0", self.time(1_000_000, 1000))
        return self.some(made)

    def context(self) -> dict[str, Any]:
        ops = "paddr" if self.paddr else self.pick("vaddr", "vaddr", "fvaddr")
        targets = 1 if self.paddr else self.any.randint(1, 2)
        made: dict[str, Any] = {
            "ops": ops,
            "targets": [self.target(ops, n) for n in range(targets)],
        }
        if self.often(0.8):
            made["intervals"] = self.intervals()
        if self.often(0.7):
            low = self.pick(10, 3, 100)
            made["nr_regions"] = {"min": self.number(low), "max": self.count(1000, low, 100_000)}
        if self.often(0.8):
            made["schemes"] = [self.scheme() for _ in range(self.any.randint(0, 2))]
        if self.often(0.4):
            made |= {"addr_unit": self.pick(1, "1", "1 B"), "pause": self.pick(False, True, "no")}
        if self.paddr and self.often(0.2):
            made["sample_control"] = self.sampling()
        if self.often(0.3):
            made["probes"] = [self.probe() for _ in range(self.any.randint(0, 2))]
        return self.some(made)

    def target(self, ops: str, number: int) -> dict[str, Any]:
        made: dict[str, Any] = {"pid": None if ops == "paddr" else self.pick(811, "811")}
        if ops != "paddr" and number:
            made["pid"] = 815
        start, regions = 1 << 20, []
        for _ in range(self.any.randint(1, 2) if ops != "vaddr" else self.pick(0, 0, 1)):
            end = start + self.pick(1 << 20, 4096, 5 << 30)
            regions.append({"start": self.number(start), "end": self.number(end)})
            start = end + (1 << 20)
        made["regions"] = regions
        if self.often():
            made["obsolete"] = self.pick(False, "no", "false", "n")
        return self.some(made)

    def intervals(self) -> dict[str, Any]:
        sample = self.pick(5_000, 5_000, 1_000, 4_000, 30_000, 7_001)
        aggregation = sample * self.pick(20, 20, 25, 50, 100, 3) + self.pick(0, 0, sample // 3)
        made = {"sample_us": self.time(sample), "aggr_us": self.time(aggregation),
                "ops_update_us": self.time(self.pick(1_000_000, 60_000_000))}  # fmt: skip
        if self.often(0.3):
            made["intervals_goal"] = {
                "access_bp": self.share(40, 10_000), "aggrs": self.count(3, 7),
                "min_sample_us": self.time(self.pick(1_000, sample)),
                "max_sample_us": self.time(10_000_000),
            }  # fmt: skip
        elif self.often():
            made["intervals_goal"] = {"access_bp": "0 %", "aggrs": 0, "min_sample_us": "0 ns",
                                      "max_sample_us": self.pick(0, "0")}  # fmt: skip
        return self.some(made)

    def sampling(self) -> dict[str, Any]:
        fault = self.often()
        made: dict[str, Any] = {
            "primitives_enabled": {"page_table": not fault, "page_fault": fault},
            "sample_filters": [],
        }
        for _ in range(self.any.randint(0, 2)):
            kind = self.pick("write", "cpumask", "threads")
            made["sample_filters"].append({
                "filter_type": kind, "matching": self.often(),
                "allow": self.pick(True, False, "false"),
                "cpumask": "0-1" if kind == "cpumask" else None,
                "tid_arr": "811,815" if kind == "threads" else None,
            })  # fmt: skip
        return made

    def probe(self) -> dict[str, Any]:
        filters = [
            {"filter_type": "anon", "matching": self.often(), "allow": self.often(), "path": None}
            for _ in range(self.any.randint(0, 2))
        ]
        made: dict[str, Any] = {"filters": filters}
        if self.often():
            made["preps"] = [{"prep_action": "set_pgidle"}] if self.often() else []
        return self.some(made)

    def pattern(self) -> dict[str, Any]:
        low, high = sorted((self.any.randint(0, 100), self.any.randint(0, 100)))
        few = self.pick(0, 0, self.any.randint(0, 3))
        rates = self.pick(
            {
                "min": self.pick("min", 0, self.share(few * 10, 100)),
                "max": self.share(few * 10, 100),
            },
            {"min": self.share(low * 10, 100), "max": self.share(high * 10, 100)},
            {"min": low, "max": high},
            {"min": f"{few} samples", "max": f"{few + low:,} samples"},
            {
                "min": "0 %",
                "max": self.pick("max", f"{U64:,} %", f"{U64 + 1:,} %", f"{U64 * 100} %"),
            },
            {"min": f"{few} samples", "max": self.pick(f"{U64:,} samples", high, "max")},
        )
        young = self.pick(0, 5_000_000, 120_000_000, 1_500_000, 77_777_777)
        ages = self.pick(
            {"min": self.time(young), "max": self.pick("max", U64, str(U64))},
            {
                "min": self.time(young),
                "max": self.time(young + self.pick(0, 1_000_000, 3600 * 10**6)),
            },
            {"min": "3 aggr_intervals", "max": self.pick("30 aggr_intervals", "max", 50)},
            {"min": young, "max": "max"},
        )
        sizes = {"min": self.pick("min", "0 B", self.size(4096, 5 << 20, 123_456)),
                 "max": self.pick("max", "max", str(U64), self.size(1 << 30, 300_000_000))}  # fmt: skip
        made = {
            "sz_bytes": self.some(sizes),
            "nr_accesses": self.some(rates),
            "age": self.some(ages),
        }
        if self.often(0.15):
            made["nr_accesses_unit"] = self.pick("percent", "samples")
        if self.often(0.15):
            made["age_unit"] = self.pick("usec", "aggr_intervals")
        return self.some(made)

    def scheme(self) -> dict[str, Any]:
        action = self.any.choice(PADDR if self.paddr else VADDR)
        made: dict[str, Any] = {"action": action}
        if self.often(0.9):
            made["access_pattern"] = self.pattern()
        if action.startswith("migrate"):
            made["target_nid"] = self.pick(0, 1, "1")
        elif self.often(0.2):
            made["target_nid"] = self.pick(None, -1, 1)
        if self.often():
            made["apply_interval_us"] = self.pick(0, "0 ns", None, self.time(1_234_000))
        if self.often(0.7):
            made["quotas"] = self.quota()
        if self.often(0.4):
            made["watermarks"] = self.watermarks()
        if self.often(0.4):
            made["filters"] = [self.filter() for _ in range(self.any.randint(0, 3))]
        if self.often(0.1):
            made["max_nr_snapshots"] = 5
        return self.some(made)

    def quota(self) -> dict[str, Any]:
        weights = {f"{name}_permil": self.share(self.pick(0, 1, 7, 29, 1000), 1000)
                   for name in ("sz", "nr_accesses", "age")}  # fmt: skip
        made: dict[str, Any] = {
            "time_ms": self.pick(0, "0 ns", self.time(10_000, 1000), self.time(12_345_000, 1000)),
            "sz_bytes": self.pick(0, "0 B", self.size(200 << 20, 123_456_789, 1 << 30)),
            "reset_interval_ms": self.pick("max", self.time(1_000_000, 1000), self.time(60_000_000, 1000)),
            "weights": self.some(weights),
        }  # fmt: skip
        if self.often(0.3):
            made |= {"fail_charge_num": self.count(1, 3), "fail_charge_denom": self.count(10, 4)}
        if self.often(0.4):
            made["goals"] = [self.goal()]
            made["goal_tuner"] = self.pick("consist", "temporal")
        if self.often(0.3):
            made["effective_sz_bytes"] = self.pick(0, "0 B", "1.000 MiB")
        return self.some(made)

    def goal(self) -> dict[str, Any]:
        if self.often(0.1):
            return {"target_value_bp": self.count(5000), "current_value_bp": self.count(0, 77)}
        metric = self.pick("user_input", "some_mem_psi_us", "node_eligible_mem_bp", *SHARES)
        value = self.count(1000, 77)
        if metric == "some_mem_psi_us":
            value = self.time(self.pick(500, 10_000))
        elif metric in SHARES:
            value = self.share(self.pick(995, 5, 997, 29), 10_000)
        made = {"metric": metric, "target_value": value, "current_value": self.count(0, 0, 7)}
        if metric.startswith("node") or self.often(0.3):
            made["nid"] = self.pick(0, "0", 1)
        if self.often():
            made |= {"complement": False, "memcg_path": None}
        return self.some(made)

    def watermarks(self) -> dict[str, Any]:
        low, mid, high = sorted(self.any.sample(range(1000), 3))
        if self.often(0.3):
            return {"metric": "none", "interval_us": 0, "high_permil": 0, "mid_permil": "0 %",
                    "low_permil": "0 %"}  # fmt: skip
        return self.some({
            "metric": "free_mem_rate", "interval_us": self.time(5_000_000),
            "high_permil": self.share(high, 1000), "mid_permil": self.share(mid, 1000),
            "low_permil": self.share(low, 1000),
        })  # fmt: skip

    def filter(self) -> dict[str, Any]:
        kind = self.pick("anon", "young", "memcg", "addr", "hugepage_size", "active", "unmapped")
        made: dict[str, Any] = {
            "filter_type": kind,
            "matching": self.pick(True, False, "yes", "no"),
        }
        if self.often(0.8):
            made[self.pick("allow", "allow", "filter_pass")] = self.pick(False, True, "n", "y")
        if kind == "memcg":
            made["memcg_path"] = self.pick("/a", "/system.slice/x.service")
        if kind == "addr":
            made["address_range"] = {"start": self.size(4096, 1 << 20), "end": self.size(1 << 30)}
        if kind == "hugepage_size":
            size = self.size(2 << 20)
            made["hugepage_size"] = self.pick(
                [size, size], {"min": size, "max": size}, ["0 B", "max"]
            )
        if self.often(0.3):
            made |= {"damon_target_idx": None, "probe_hits_wsum_range": None}
        return self.some(made)
