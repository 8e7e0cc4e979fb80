"""Random configurations of kdamonds: those that a policy can say, and wild ones."""

from __future__ import annotations

import random

from damonpolicy.emulated.damon.table import layout
from damonpolicy.kernel.damon.actions import MOVING, traits
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.kernel.system.machine import KDAMONDS

__all__ = ("Wild", "Writer")

MIB = 1 << 20
PIDS = (530, 811, 815)
CGROUPS = ("/machine.slice", "/machine.slice/vm-1.scope", "/system.slice/nginx.service", "/")
U32, U64 = (1 << 32) - 1, (1 << 64) - 1


class Writer:
    """Writes one random kdamond into a slot, as a program by someone else would."""

    def __init__(self, machine, profile, seed, slot=0, pids=PIDS, cgroups=CGROUPS) -> None:
        self.machine, self.slot, self.pids, self.cgroups = machine, slot, pids, cgroups
        self.any = random.Random(f"{profile.version}/{seed}/{slot}")
        self.profile = profile
        self.layout = layout(profile)

    def put(self, path, value):
        """Write a file, where the kernel has it."""
        full = f"{KDAMONDS}/{self.slot}/{path}"
        if self.machine.exists(full):
            self.machine.write(full, str(value))

    def has(self, path):
        return self.machine.exists(f"{KDAMONDS}/{self.slot}/{path}")

    def words(self, path):
        return self.layout.files[pattern(f"0/{path}").replace("0/", "*/", 1)].words

    def often(self, share=0.5):
        return self.any.random() < share

    def pick(self, values):
        return self.any.choice(list(values))

    def kdamond(self):
        """Write everything."""
        self.put("contexts/nr_contexts", 1)
        base = "contexts/0"
        self.ops = self.pick(self.words(f"{base}/operations"))
        self.put(f"{base}/operations", self.ops)
        if self.often(0.2):
            self.put("refresh_ms", self.pick((1, 500, 1000, 90_000)))
        if self.often(0.1):
            self.put(f"{base}/pause", "Y")
        self.intervals(f"{base}/monitoring_attrs")
        self.weighted = False
        self.faults = False
        self.probes(f"{base}/monitoring_attrs/probes")
        self.accesses(base)
        self.targets(f"{base}/targets")
        count = self.pick((0, 1, 1, 2, 3))
        self.put(f"{base}/schemes/nr_schemes", count)
        for index in range(count):
            self.scheme(f"{base}/schemes/{index}")

    def intervals(self, base):
        self.sample = self.pick((5_000, 5_000, 1_000, 7_001, 100_000))
        self.samples = self.pick((20, 20, 1, 7, 200, 255))
        self.put(f"{base}/intervals/sample_us", self.sample)
        self.put(f"{base}/intervals/aggr_us", self.sample * self.samples)
        self.put(f"{base}/intervals/update_us", self.pick((60_000_000, 1_000_000, 123_456_789)))
        low = self.pick((3, 10, 100))
        self.put(f"{base}/nr_regions/min", low)
        self.put(f"{base}/nr_regions/max", self.pick((low, 1000, 100_000)))
        self.tuned = self.has(f"{base}/intervals/intervals_goal/aggrs") and self.often(0.3)
        if self.tuned:
            goal = f"{base}/intervals/intervals_goal"
            self.put(f"{goal}/access_bp", self.pick((400, 1, 10_000, 333)))
            self.put(f"{goal}/aggrs", self.pick((1, 3, 77)))
            self.put(f"{goal}/min_sample_us", self.pick((1, self.sample)))
            self.put(f"{goal}/max_sample_us", self.pick((10_000_000, self.sample)))

    def probes(self, base):
        if not self.has(f"{base}/nr_probes") or self.often(0.6):
            return
        if self.ops != "paddr" and not self.profile.has("probe.preps"):
            return  # taken, and never asked: docs/kernel-quirks.md
        count = self.any.randint(1, 4)
        self.put(f"{base}/nr_probes", count)
        for index in range(count):
            here = f"{base}/{index}"
            if self.has(f"{here}/weight") and not self.tuned and self.often(0.4):
                self.put(f"{here}/weight", self.any.randint(1, 9))
                self.weighted = True
            if self.has(f"{here}/preps/nr_preps") and self.often():
                self.put(f"{here}/preps/nr_preps", 1)
            least = self.any.randint(0, 3)
            self.put(f"{here}/filters/nr_filters", least)
            kinds = self.kinds(self.words(f"{here}/filters/0/type"), 3) if least else []
            self.put(f"{here}/filters/nr_filters", len(kinds))
            for number, kind in enumerate(kinds):
                place = f"{here}/filters/{number}"
                self.put(f"{place}/type", kind)
                self.verdict(place)
                if kind == "memcg":
                    self.put(f"{place}/path", self.pick(self.cgroups))
                if kind == "hugepage_size":
                    self.sizes(place)

    def accesses(self, base):
        if self.ops != "paddr" or self.weighted or self.often(0.4):
            return
        cpus, threads = (
            self.pick(("0", "1-2", "0,3", "")),
            self.pick((str(self.pids[0]), ",".join(map(str, sorted(self.pids))), "")),
        )
        early, sample = f"{base}/operations_attrs", f"{base}/monitoring_attrs/sample"
        if self.has(f"{early}/use_reports"):
            self.put(f"{early}/use_reports", "Y")
            self.put(f"{early}/write_only", self.pick("YN"))
            for name, value in (("cpus", cpus), ("tids", threads)):
                if value:
                    self.put(f"{early}/{name}", value)
        elif self.has(f"{sample}/primitives/page_fault"):
            self.put(f"{sample}/primitives/page_table", "N")
            self.put(f"{sample}/primitives/page_fault", "Y")
            rows = [("cpumask", "N", cpus)] if cpus else []
            rows += [("threads", "N", threads)] if threads else []
            rows += [("write", self.pick("YN"), "")] if self.often() else []
            if rows:
                kind, matching, value = rows[-1]
                last = (kind, "N" if matching == "Y" else "Y", value)
                self.put(f"{sample}/filters/nr_filters", len(rows) + 1)
                for index, (kind, matching, value) in enumerate([*rows, last]):
                    here = f"{sample}/filters/{index}"
                    file = {"cpumask": "cpumask", "threads": "tid_arr"}.get(kind)
                    if file:
                        self.put(f"{here}/{file}", value)
                    self.put(f"{here}/type", kind)
                    self.put(f"{here}/matching", matching)
                    self.put(f"{here}/allow", "Y" if index == len(rows) else "N")
        self.faults = True

    def targets(self, base):
        count = 1 if self.ops == "paddr" else self.any.randint(1, 3)
        self.put(f"{base}/nr_targets", count)
        for index, pid in zip(range(count), self.any.sample(self.pids, 3), strict=False):
            if self.ops != "paddr":
                self.put(f"{base}/{index}/pid_target", pid)
            if self.ops == "vaddr":
                continue
            start, regions = MIB, self.any.randint(1, 3)
            self.put(f"{base}/{index}/regions/nr_regions", regions)
            for number in range(regions):
                here = f"{base}/{index}/regions/{number}"
                self.put(f"{here}/start", start)
                end = start + self.pick((4096, 8 * MIB, 64 * MIB))
                self.put(f"{here}/end", end)
                start = end + 4096 * self.pick((0, 1, self.any.randint(1, 100)))

    def scheme(self, base):
        known = self.words(f"{base}/action")
        works = [
            each
            for each in known
            for able in [traits(self.ops, each)]
            if able.works and (not able.needs or self.profile.has(able.needs))
        ]
        action = self.pick(works)
        able = traits(self.ops, action)
        if action != "stat" and self.faults and self.often(0.7):
            action, able = "stat", traits(self.ops, "stat")
        self.put(f"{base}/action", action)
        if action.startswith("migrate"):
            if self.has(f"{base}/dests/nr_dests") and able.destinations and self.often():
                self.put(f"{base}/dests/nr_dests", 2)
                for node in (0, 1):
                    self.put(f"{base}/dests/{node}/id", node)
                    self.put(f"{base}/dests/{node}/weight", self.any.randint(1, 9))
            else:
                self.put(f"{base}/target_nid", self.pick((0, 1)))
        self.pattern(f"{base}/access_pattern")
        if self.often(0.4):
            self.put(f"{base}/apply_interval_us", self.pick((self.sample, 1_000_000, 30_000_001)))
        if self.often(0.3):
            self.put(f"{base}/stats/max_nr_snapshots", self.any.randint(1, 1000))
        self.quota(f"{base}/quotas", action)
        if self.often(0.3):
            marks = sorted(self.any.sample(range(1001), 3), reverse=True)
            self.put(f"{base}/watermarks/metric", "free_mem_rate")
            self.put(f"{base}/watermarks/interval_us", self.pick((5_000_000, 1, 60_000_000)))
            for name, mark in zip(("high", "mid", "low"), marks, strict=True):
                self.put(f"{base}/watermarks/{name}", mark)
        self.filters(base, able)

    def pattern(self, base):
        low = self.pick((0, 0, 4096, 5 * MIB + 1))
        self.put(f"{base}/sz/min", low)
        self.put(f"{base}/sz/max", self.pick((U64, U64, max(low, 4096), 1 << 40)))
        few = 0 if self.weighted else self.pick((0, 0, 1, self.samples // 2, self.samples))
        many = U32 if self.weighted else self.pick((U32, U64, self.samples, max(few, 1), few))
        self.put(f"{base}/nr_accesses/min", few)
        self.put(f"{base}/nr_accesses/max", many)
        young = self.pick((0, 0, 1, 20, 12_345))
        self.put(f"{base}/age/min", young)
        self.put(f"{base}/age/max", self.pick((U32, U64, young, 1_000_000)))

    def quota(self, base, action):
        if (action not in MOVING and self.often()) or self.often(0.1):
            return
        self.put(f"{base}/bytes", self.pick((200 * MIB, 4096, 12_345)))
        time, window = self.pick((0, 10, 999)), self.pick((1000, 5, 60_000))
        self.put(f"{base}/ms", time if time < window else 0)
        self.put(f"{base}/reset_interval_ms", window)
        weights = [self.pick((0, 1, 1000)) for _ in range(3)]
        weights[0] *= any(weights[1:])  # the kernel weighs no sizes
        for name, weight in zip(("sz", "nr_accesses", "age"), weights, strict=True):
            self.put(f"{base}/weights/{name}_permil", weight)
        if self.has(f"{base}/fail_charge_num") and self.often(0.3):
            self.put(f"{base}/fail_charge_denom", 10)
            self.put(f"{base}/fail_charge_num", self.any.randint(0, 10))
        if not self.has(f"{base}/goals/nr_goals") or self.often():
            return
        count = self.any.randint(1, 2)
        self.put(f"{base}/goals/nr_goals", count)
        if self.has(f"{base}/goal_tuner"):
            self.put(f"{base}/goal_tuner", self.pick(self.words(f"{base}/goal_tuner")))
        for index in range(count):
            self.goal(f"{base}/goals/{index}", index)

    def goal(self, base, index):
        known = ("user_input",)
        if self.has(f"{base}/target_metric"):
            known = [
                each
                for each in self.words(f"{base}/target_metric")
                if self.ops == "paddr" or each != "node_eligible_mem_bp"
            ]
        metric = self.pick(known)
        self.put(f"{base}/target_metric", metric)
        self.put(f"{base}/target_value", 10 + index + self.any.randint(0, 4000))
        if metric.startswith("node_"):
            self.put(f"{base}/nid", self.pick((0, 1)))
        if "memcg" in metric:
            self.put(f"{base}/path", self.pick(self.cgroups))
        if metric.endswith("_bp") and self.often(0.3):
            self.put(f"{base}/complement", "Y")

    def filters(self, base, able):
        if not self.has(f"{base}/filters/nr_filters") or self.often(0.4):
            return
        honoured = able.filters and (not able.filters_need or self.profile.has(able.filters_need))
        layers = self.has(f"{base}/core_filters/nr_filters")
        # kernels without layers take core filters first here, so that the order is the policy's
        kinds = [each for each in self.words(f"{base}/filters/0/type") if each in CORE]
        core = self.kinds(kinds, 2)
        others = [each for each in self.words(f"{base}/filters/0/type") if each not in CORE]
        pages = self.kinds(others, 3) if honoured else []
        if layers and self.often(0.7):
            self.write_filters(f"{base}/core_filters", core)
            self.write_filters(f"{base}/ops_filters", pages)
        else:
            self.write_filters(f"{base}/filters", [*core, *pages])

    def kinds(self, known, most):
        """Choose some, each once: of two of a kind one may never be asked."""
        useless = {"target"} if self.ops == "paddr" else set()  # there is one
        useless |= set() if self.weighted else {"probe_hits_wsum"}
        usable = [each for each in known if each not in useless]
        return self.any.sample(usable, min(self.any.randint(0, most), len(usable)))

    def write_filters(self, base, kinds):
        self.put(f"{base}/nr_filters", len(kinds))
        for index, kind in enumerate(kinds):
            here = f"{base}/{index}"
            self.put(f"{here}/type", kind)
            self.verdict(here)
            if kind in CORE and self.ops == "paddr" and not self.profile.has("filter.allow"):
                self.put(f"{here}/matching", "Y")  # negated, it would reject every page
            if kind == "memcg":
                self.put(f"{here}/memcg_path", self.pick(self.cgroups))
            elif kind == "addr":
                start = self.any.randint(0, 1 << 30)
                self.put(f"{here}/addr_start", start)
                self.put(f"{here}/addr_end", start + self.any.randint(1, 1 << 30))
            elif kind == "target":
                self.put(
                    f"{here}/damon_target_idx", 0 if self.ops == "paddr" else self.pick((0, 1))
                )
            elif kind in ("hugepage_size", "probe_hits_wsum"):
                self.sizes(here)

    def verdict(self, base):
        self.put(f"{base}/matching", self.pick("YN"))
        self.put(f"{base}/allow", self.pick("YN"))

    def sizes(self, base):
        low = self.pick((4096, 2 * MIB))
        self.put(f"{base}/min", low)
        self.put(f"{base}/max", low + self.pick((0, 1, 30 * MIB)))


class Wild(Writer):
    """Writes what kernels let anyone stage, whether or not a policy has words for it."""

    def kdamond(self):
        self.any.seed(f"wild {self.any.random()}")
        super().kdamond()
        if self.ops == "paddr" and self.often(0.2):
            self.put("contexts/0/addr_unit", self.pick((2, 4096, 1 << 21, 3)))

    def targets(self, base):
        super().targets(base)
        full = f"{KDAMONDS}/{self.slot}/{base}/nr_targets"
        count = int(self.machine.read(full))
        if self.often(0.1):
            count = max(count, 2)
            self.put(f"{base}/nr_targets", count)
        for index in range(count):
            here = f"{base}/{index}"
            if self.often(0.2):
                self.put(f"{here}/pid_target", self.pick((*self.pids, self.pids[0], 4_000_000)))
            if self.often(0.2):
                self.put(f"{here}/obsolete_target", "Y")
            if self.often(0.3):
                self.regions(f"{here}/regions")

    def regions(self, base):
        """Regions that touch, share a page, overlap, or stand in no order, of whole pages or not."""
        count, start = self.any.randint(1, 4), MIB
        self.put(f"{base}/nr_regions", count)
        for index in range(count):
            end = start + self.pick((4096, 4096, 5000, 0, 8 * MIB))
            self.put(f"{base}/{index}/start", start)
            self.put(f"{base}/{index}/end", end)
            start = end + self.pick((0, 0, 0, 1, 4096, -4096))

    def filters(self, base, able):
        if not self.has(f"{base}/filters/nr_filters") or self.often(0.3):
            return
        for directory in ("filters", "core_filters", "ops_filters"):
            first = f"{base}/{directory}"
            if not self.has(f"{first}/nr_filters") or self.often(0.4):
                continue
            kinds = self.kinds(self.words(f"{first}/0/type"), 3)
            self.write_filters(first, kinds)
            if kinds and self.often(0.2):  # left as the kernel makes it: for anonymous pages
                self.put(f"{first}/nr_filters", len(kinds))

    def accesses(self, base):
        super().accesses(base)
        sample = f"{base}/monitoring_attrs/sample"
        if not self.has(f"{sample}/primitives/page_fault") or self.often(0.6):
            return
        self.put(f"{sample}/primitives/page_table", self.pick("NNY"))
        self.put(f"{sample}/primitives/page_fault", self.pick("YYN"))
        count = self.any.randint(1, 3)
        self.put(f"{sample}/filters/nr_filters", count)
        for index in range(count):
            here = f"{sample}/filters/{index}"
            self.put(f"{here}/cpumask", self.pick(("0", "1-2")))
            if self.often():
                self.put(f"{here}/tid_arr", self.pids[0])
            self.put(f"{here}/type", self.pick(("cpumask", "threads", "write")))
            self.verdict(here)
