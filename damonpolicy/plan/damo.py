"""damo's configuration files as trees of kdamonds, as damo itself would write them.

The form is that of `damo args damon` and of its `--kdamonds` option, version 3.4.3; older files
lack keys, and have filters of an older form. Numbers are texts for people there: ``4,096``,
``5 ms``, ``4 %``, ``max``; sizes are rounded to three decimals where damo wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from fractions import Fraction
from typing import Any

from damonpolicy.errors import PolicyInvalid
from damonpolicy.kernel.tree import default
from damonpolicy.model.actions import ACTIONS
from damonpolicy.plan.imported import Source
from damonpolicy.units import U64_MAX

__all__ = ("sources",)

_BYTES = {"B": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
          "d": 86_400 * 10**9}  # fmt: skip
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z%_]*)")
_CONTEXT = "contexts/0"


def sources(data: Any, name: str) -> list[Source]:
    """Return the kdamonds of a file; raises PolicyInvalid where it is none of damo's."""
    listed = data.get("kdamonds") if isinstance(data, Mapping) else data
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        message = f"`{name}` is no configuration of damo: it has no list of `kdamonds`"
        raise PolicyInvalid(message, hint="`damo args damon --format yaml` writes one")
    try:
        return [
            Source(f"kdamond {index} of {name}", f"kdamond-{index}", _Tree(each).files)
            for index, each in enumerate(listed)
        ]
    except _Wrong as error:
        hint = "damo writes such files with `damo args damon --format yaml`"
        raise PolicyInvalid(f"`{name}` is no configuration of damo: {error}", hint=hint) from error


class _Wrong(ValueError):
    """What damo would not have written."""


class _Place:
    """A mapping of damo's file; keys that are not there read as nothing."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            message = f"`{where}` is not a mapping"
            raise _Wrong(message)
        self.value, self.where = value, where

    def __call__(self, key: str) -> _Place:
        return _Place(self.value.get(key) or {}, f"{self.where}.{key}")

    def each(self, key: str) -> Iterator[_Place]:
        """Return the mappings of a list."""
        listed = self.value.get(key) or []
        if not isinstance(listed, list):
            message = f"`{self.where}.{key}` is not a list"
            raise _Wrong(message)
        for index, value in enumerate(listed):
            yield _Place(value, f"{self.where}.{key}[{index}]")

    def text(self, key: str, usual: str = "") -> str:
        """Return a word."""
        value = self.value.get(key)
        return usual if value is None else str(value)

    def word(self, key: str, usual: str, known: Container[str]) -> str:
        """Return one of some words."""
        word = self.text(key, usual)
        if word not in known:
            message = f"`{self.where}.{key}` is `{word[:40]}`, which no kernel knows"
            raise _Wrong(message)
        return word

    def truth(self, key: str, *, usual: bool = False) -> str:
        """Return Y or N."""
        value = self.value.get(key)
        if value is None:
            return "Y" if usual else "N"
        return "Y" if str(value).lower() in ("true", "y", "yes", "1") else "N"

    def amount(self, key: str, usual: str, unit: int = 1, scale: Fraction = Fraction(1)) -> str:
        """Return a number of the kernel's; ``unit`` is what a bare one or a time counts in."""
        return str(_amount(self.text(key, usual), f"{self.where}.{key}", unit, scale))


def _amount(text: str, where: str, unit: int, scale: Fraction) -> int:
    """Read sizes in bytes, times in ``unit`` nanoseconds, percentages times ``scale``."""
    plain = text.replace(",", "").strip()
    if plain == "max":
        return U64_MAX
    if plain == "min":
        return 0
    parts = _QUANTITY.findall(plain)
    if not parts or " ".join(f"{n}{u}" for n, u in parts) != re.sub(r"(?<=\d) (?=\D)", "", plain):
        message = f"`{where}` is `{text[:40]}`, which is no number of damo's"
        raise _Wrong(message)
    total = Fraction(0)
    for number, name in parts:
        value = Fraction(number)
        if name in _TIMES:
            total += value * _TIMES[name] / unit
        elif name == "%":
            total += value * scale
        elif name[:1].upper() in _BYTES and name.lower().rstrip("b").rstrip("i") in (
            "", *(each.lower() for each in _BYTES),
        ):  # fmt: skip
            total += value * (1 << _BYTES[name[:1].upper()])
        elif name in ("", "samples", "aggr_intervals"):
            total += value
        else:
            message = f"`{where}` is `{text[:40]}`, whose unit damo does not know"
            raise _Wrong(message)
    return min(int(total), U64_MAX)


class _Tree:
    """Builds the files of one kdamond's directory."""

    def __init__(self, kdamond: Mapping[str, Any]) -> None:
        self.files: dict[str, str] = {}
        place = _Place(kdamond, "kdamond")
        self.put("refresh_ms", place.amount("refresh_ms", "0", _TIMES["ms"]))
        contexts = list(place.each("contexts"))
        if len(contexts) != 1:
            message = f"`{place.where}` has {len(contexts)} contexts, and kernels take one"
            raise _Wrong(message)
        self.put("contexts/nr_contexts", "1")
        self._context(contexts[0])

    def put(self, path: str, value: str) -> None:
        """Set a file."""
        self.files[path] = value

    def _context(self, at: _Place) -> None:
        attributes = f"{_CONTEXT}/monitoring_attrs"
        self.put(f"{_CONTEXT}/operations", at.word("ops", "vaddr", ACTIONS))
        self.put(f"{_CONTEXT}/addr_unit", at.amount("addr_unit", "1"))
        self.put(f"{_CONTEXT}/pause", at.truth("pause"))
        intervals, goal = at("intervals"), at("intervals")("intervals_goal")
        micro = _TIMES["us"]
        here = f"{attributes}/intervals"
        self.put(f"{here}/sample_us", intervals.amount("sample_us", "5000", micro))
        self.put(f"{here}/aggr_us", intervals.amount("aggr_us", "100000", micro))
        self.put(f"{here}/update_us", intervals.amount("ops_update_us", "1000000", micro))
        here += "/intervals_goal"
        self.put(f"{here}/access_bp", goal.amount("access_bp", "0", scale=Fraction(100)))
        self.put(f"{here}/aggrs", goal.amount("aggrs", "0"))
        self.put(f"{here}/min_sample_us", goal.amount("min_sample_us", "0", micro))
        self.put(f"{here}/max_sample_us", goal.amount("max_sample_us", "0", micro))
        for bound, usual in (("min", "10"), ("max", "1000")):
            self.put(f"{attributes}/nr_regions/{bound}", at("nr_regions").amount(bound, usual))
        self._sample(at("sample_control"), f"{attributes}/sample")
        self._probes(at, f"{attributes}/probes")
        self._targets(at, f"{_CONTEXT}/targets")
        schemes = list(at.each("schemes"))
        self.put(f"{_CONTEXT}/schemes/nr_schemes", str(len(schemes)))
        for index, scheme in enumerate(schemes):
            self._scheme(scheme, f"{_CONTEXT}/schemes/{index}")

    def _sample(self, at: _Place, base: str) -> None:
        enabled = at("primitives_enabled")
        self.put(f"{base}/primitives/page_table", enabled.truth("page_table", usual=True))
        self.put(f"{base}/primitives/page_fault", enabled.truth("page_fault"))
        filters = list(at.each("sample_filters"))
        self.put(f"{base}/filters/nr_filters", str(len(filters)))
        for index, each in enumerate(filters):
            here = f"{base}/filters/{index}"
            self.put(f"{here}/type", each.text("filter_type", "cpumask"))
            self.put(f"{here}/matching", each.truth("matching"))
            self.put(f"{here}/allow", each.truth("allow"))
            self.put(f"{here}/cpumask", each.text("cpumask"))
            threads = each.value.get("tid_arr") or []
            joined = ",".join(map(str, threads)) if isinstance(threads, list) else str(threads)
            self.put(f"{here}/tid_arr", joined)

    def _probes(self, at: _Place, base: str) -> None:
        probes = list(at.each("probes"))
        self.put(f"{base}/nr_probes", str(len(probes)))
        for index, probe in enumerate(probes):
            here = f"{base}/{index}"
            self.put(f"{here}/weight", probe.amount("weight", "0"))
            preps, filters = list(probe.each("preps")), list(probe.each("filters"))
            self.put(f"{here}/preps/nr_preps", str(len(preps)))
            for number, prep in enumerate(preps):
                self.put(f"{here}/preps/{number}/prep_action", prep.text("prep_action"))
            self.put(f"{here}/filters/nr_filters", str(len(filters)))
            for number, each in enumerate(filters):
                place = f"{here}/filters/{number}"
                self.put(f"{place}/type", each.text("filter_type", "anon"))
                self.put(f"{place}/matching", each.truth("matching"))
                self.put(f"{place}/allow", each.truth("allow"))
                self.put(f"{place}/path", each.text("path"))
                self.put(f"{place}/min", each.amount("range_min", "0"))
                self.put(f"{place}/max", each.amount("range_max", "0"))

    def _targets(self, at: _Place, base: str) -> None:
        targets = list(at.each("targets"))
        self.put(f"{base}/nr_targets", str(len(targets)))
        for index, target in enumerate(targets):
            here = f"{base}/{index}"
            self.put(f"{here}/pid_target", target.amount("pid", "0"))
            self.put(f"{here}/obsolete_target", target.truth("obsolete"))
            regions = list(target.each("regions"))
            self.put(f"{here}/regions/nr_regions", str(len(regions)))
            for number, region in enumerate(regions):
                for bound in ("start", "end"):
                    self.put(f"{here}/regions/{number}/{bound}", region.amount(bound, "0"))

    def _scheme(self, at: _Place, base: str) -> None:
        self.put(f"{base}/action", at.word("action", "stat", ACTIONS["paddr"]))
        nowhere = at.text("target_nid", "-1") == "-1"
        self.put(f"{base}/target_nid", "-1" if nowhere else at.amount("target_nid", "-1"))
        dests = list(at.each("dests"))
        self.put(f"{base}/dests/nr_dests", str(len(dests)))
        for index, each in enumerate(dests):
            for name in ("id", "weight"):
                self.put(f"{base}/dests/{index}/{name}", each.amount(name, "0"))
        self._pattern(at("access_pattern"), f"{base}/access_pattern")
        every = at.amount("apply_interval_us", "0", _TIMES["us"])
        self.put(f"{base}/apply_interval_us", every)
        self._quota(at("quotas"), f"{base}/quotas")
        marks = at("watermarks")
        self.put(f"{base}/watermarks/metric", marks.text("metric", "none"))
        self.put(f"{base}/watermarks/interval_us", marks.amount("interval_us", "0", _TIMES["us"]))
        for name in ("high", "mid", "low"):
            value = marks.amount(f"{name}_permil", "0", scale=Fraction(10))
            self.put(f"{base}/watermarks/{name}", value)
        self._filters(at, base)

    def _pattern(self, at: _Place, base: str) -> None:
        intervals = f"{_CONTEXT}/monitoring_attrs/intervals"
        sample, aggregation = (int(self.files[f"{intervals}/{n}_us"]) for n in ("sample", "aggr"))
        share = Fraction(max(aggregation // max(sample, 1), 1), 100)
        for bound, usual in (("min", "0"), ("max", "max")):
            self.put(f"{base}/sz/{bound}", at("sz_bytes").amount(bound, usual))
            rate = at("nr_accesses").text(bound, usual)
            # damo's "max" is the largest number, called a percentage
            if rate.replace(",", "").startswith(str(U64_MAX)):
                rate = "max"
            where = f"{at.where}.nr_accesses.{bound}"
            self.put(f"{base}/nr_accesses/{bound}", str(_amount(rate, where, 1, share)))
            age = at("age").amount(bound, usual, aggregation * _TIMES["us"])
            self.put(f"{base}/age/{bound}", age)

    def _quota(self, at: _Place, base: str) -> None:
        milli = _TIMES["ms"]
        self.put(f"{base}/ms", at.amount("time_ms", "0", milli))
        self.put(f"{base}/bytes", at.amount("sz_bytes", "0"))
        self.put(f"{base}/reset_interval_ms", at.amount("reset_interval_ms", "0", milli))
        for name in ("num", "denom"):
            self.put(f"{base}/fail_charge_{name}", at.amount(f"fail_charge_{name}", "0"))
        self.put(f"{base}/goal_tuner", at.text("goal_tuner", "consist"))
        for name in ("sz", "nr_accesses", "age"):
            weight = at("weights").amount(f"{name}_permil", "0", scale=Fraction(10))
            self.put(f"{base}/weights/{name}_permil", weight)
        goals = list(at.each("goals"))
        self.put(f"{base}/goals/nr_goals", str(len(goals)))
        for index, goal in enumerate(goals):
            here = f"{base}/goals/{index}"
            micro, basis = _TIMES["us"], Fraction(100)
            self.put(f"{here}/target_metric", goal.text("metric", "user_input"))
            self.put(f"{here}/target_value", goal.amount("target_value", "0", micro, basis))
            self.put(f"{here}/current_value", goal.amount("current_value", "0", micro, basis))
            self.put(f"{here}/nid", goal.amount("nid", "0"))
            self.put(f"{here}/path", goal.text("memcg_path"))
            self.put(f"{here}/complement", goal.truth("complement"))

    def _filters(self, at: _Place, base: str) -> None:
        layers: dict[str, list[_Place]] = {"core_filters": [], "ops_filters": []}
        for each in at.each("filters"):
            core = each.text("filter_type") in ("addr", "target", "probe_hits_wsum")
            layers["core_filters" if core else "ops_filters"].append(each)
        for layer, filters in layers.items():
            self.put(f"{base}/{layer}/nr_filters", str(len(filters)))
            for index, each in enumerate(filters):
                self._filter(each, f"{base}/{layer}/{index}")
        self.put(f"{base}/filters/nr_filters", "0")

    def _filter(self, at: _Place, here: str) -> None:
        self.put(f"{here}/type", at.text("filter_type", "anon"))
        self.put(f"{here}/matching", at.truth("matching", usual=True))
        # the older form calls it `filter_pass`, and has none where filters only reject
        old = at.truth("filter_pass") if "filter_pass" in at.value else "N"
        self.put(f"{here}/allow", at.truth("allow", usual=old == "Y"))
        self.put(f"{here}/memcg_path", at.text("memcg_path"))
        for bound in ("start", "end"):
            self.put(f"{here}/addr_{bound}", at("address_range").amount(bound, "0"))
        self.put(f"{here}/damon_target_idx", at.amount("damon_target_idx", "0"))
        sizes = at.value.get("hugepage_size") or at.value.get("probe_hits_wsum_range")
        low, high = sizes if isinstance(sizes, list) and len(sizes) == 2 else ("0", "0")
        for name, value in (("min", low), ("max", high)):
            self.put(
                f"{here}/{name}", str(_amount(str(value), f"{at.where}.{name}", 1, Fraction(1)))
            )
        for name in ("memcg_path", "addr_start", "addr_end", "damon_target_idx", "min", "max"):
            if self.files[f"{here}/{name}"] == "":
                self.put(f"{here}/{name}", default(f"{here}/{name}"))
