"""The difference between two trees of a kdamond as rows, in the policy's words.

Schemes, probes and processes are compared with those of the same name before, at any position.
Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.kernel.damon.actions import MOVING
from damonpolicy.kernel.damon.schema import COUNTS, default
from damonpolicy.kernel.damon.tree import Tree, is_volatile
from damonpolicy.kernel.damon.words import by_kernel, rank
from damonpolicy.plan.facts import EARLY, SAMPLE
from damonpolicy.plan.plan import KdamondPlan
from damonpolicy.plan.show.texts import accesses, chain, target, value_text

__all__ = ("Row", "rows")

_SCHEME = re.compile(r"contexts/0/schemes/\d+")
_PROBE = re.compile(r"contexts/0/monitoring_attrs/probes/\d+")
_TARGET = re.compile(r"contexts/0/targets/\d+")
_INTERVAL = r"contexts/0/monitoring_attrs/intervals/(?:sample|aggr)_us\Z"
_FILTERS = r"(.*)/(?:core_filters|ops_filters|filters)(?:/|\Z)"
_ITEM = r"(.*/(goals|dests|filters|preps)/)(\d+)/"
_MOST = r"contexts/0/schemes/\d+/access_pattern/\w+/max\Z"
_SAID = re.compile(
    r"contexts/0/(?:operations|monitoring_attrs/probes/\d+/preps/\d+/prep_action"
    r"|schemes/\d+/(?:action|dests/\d+/id|quotas/goals/\d+/target_metric))\Z"
)
"""Rows shown even for the kernel's default: the monitored memory, and the action."""
_FIRST = {"goals": "target_metric", "dests": "id", "filters": "type", "preps": "prep_action"}
_ZERO_IS_NONE = (
    "quota.size", "quota.time", "quota.every", "apply_every", "max_snapshots", "refresh",
    "watermarks.every", "intervals.auto_tune.observe", "intervals.auto_tune.aggregations",
    "intervals.auto_tune.min_sample", "intervals.auto_tune.max_sample",
)  # fmt: skip
_SPARE = 1 << 20
"""Numbers from here on stand for removed items; no kernel has as many of anything."""


@dataclass(frozen=True, slots=True)
class Row:
    """One difference: ``+`` added, ``-`` removed, ``~`` changed; ``scope``: scheme or probe."""

    sign: str
    scope: str
    word: str
    before: str
    after: str
    path: str


def rows(each: KdamondPlan) -> list[Row]:
    """Return the differences in the order of a policy: kdamond, targets, probes, schemes."""
    return _Rows(each).all()


class _Rows:
    def __init__(self, each: KdamondPlan) -> None:
        self.each = each
        self.anew = each.action in ("start", "restart")
        self.after = each.after
        self.names = dict(each.names)
        self.moved: dict[str, str] = {}
        before = {} if each.action == "start" else each.before
        if before:
            self._align(_SCHEME, each.names_before, each.names)
            self._align(_PROBE, each.names_before, each.names)
            self._align(_TARGET, _pids(before), _pids(each.after))
        self.back = {new: old for old, new in self.moved.items()}
        self.before = {self._at(path, self.moved): value for path, value in before.items()}

    def _align(self, kind: re.Pattern[str], old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Renumber items: kept names get their new position, removed ones come last."""
        here = {name: path for path, name in new.items() if kind.fullmatch(path)}
        for path, name in old.items():
            if not kind.fullmatch(path):
                continue
            parent, _, number = path.rpartition("/")
            self.moved[path] = here.pop(name, f"{parent}/{_SPARE + int(number)}")
            self.names.setdefault(self.moved[path], name)

    def _at(self, path: str, moves: Mapping[str, str]) -> str:
        for kind in (_SCHEME, _PROBE, _TARGET):
            found = kind.match(path)
            if found and found[0] in moves:
                return moves[found[0]] + path[found.end() :]
        return path

    def all(self) -> list[Row]:
        found: dict[tuple[str, str, str], Row] = {}
        told: set[str] = set()
        for old, new in self.moved.items():
            was, now = (path.rpartition("/")[2] for path in (old, new))
            if was != now and int(now) < _SPARE and not _TARGET.match(new):
                scope = self._scope(new)
                found[scope, "position", new] = Row("~", scope, "position", was, now, new)
        for path in {**self.before, **self.after}:
            together = re.match(_FILTERS, path)
            if together and together[1] in told:
                continue  # all of its filters are one row
            if together and self.before.get(path) != self.after.get(path):
                told.add(together[1])
            row = self._row(path, self.before.get(path), self.after.get(path))
            if row is not None:
                found.setdefault((row.scope, row.word, row.path), row)
        ordered = sorted(found.values(), key=_order)
        return [replace(row, path=self._at(row.path, self.back) if row.sign == "-" else row.path)
                for row in ordered]  # fmt: skip

    def _row(self, path: str, old: str | None, new: str | None) -> Row | None:
        if old == new or (is_volatile(path, self.after) and not self._begins(path)):
            return None
        scope = self._scope(path)
        if path.startswith((f"{SAMPLE}/", f"{EARLY}/")):
            return self._accesses_row()
        if filters := re.match(_FILTERS, path):
            return self._filter_row(scope, filters[1])
        if found := _TARGET.match(path):
            return self._target_row(found[0])
        if path.rpartition("/")[2] in COUNTS.values():
            return None
        if new is None and _usual(path, old or "", self.before):
            return None
        if old is None and _usual(path, new or "", self.after):
            return None
        sign = "+" if old is None else "-" if new is None else "~"
        before = "" if old is None else _text(path, old, self.before)
        if old is None and re.match(_INTERVAL, path) and self.before:
            sign, before = "~", "tuned"
        after = "" if new is None else _text(path, new, self.after)
        word = _word(path)
        if word == "quota.size" and "unlimited" in (before, after):
            word = "quota"
        if path.endswith("fail_charge_denom"):
            path = path.replace("_denom", "_num")
        return Row(sign, scope, word, before, after, path)

    def _begins(self, path: str) -> bool:
        """Return whether a volatile file is the start value of the kernel's tuning."""
        return self.anew and re.match(_INTERVAL, path) is not None

    def _scope(self, path: str) -> str:
        for kind, expression in (("scheme", _SCHEME), ("probe", _PROBE)):
            if found := expression.match(path):
                return f"{kind} {self.names.get(found[0], found[0].rpartition('/')[2])}"
        return ""

    def _filter_row(self, scope: str, owner: str) -> Row | None:
        """Return all filters of a scheme or probe as one row, in the order of the kernel."""
        old, new = chain(self.before, owner), chain(self.after, owner)
        if old == new:
            return None
        sign = "+" if not old and f"{owner}/action" not in self.before else "~"
        if not new and f"{owner}/action" not in self.after:
            sign = "-"
        tree = self.after if new else self.before
        layers = ("filters", "ops_filters", "core_filters")
        used = [each for each in layers if tree.get(f"{owner}/{each}/nr_filters", "0") != "0"]
        return Row(
            sign,
            scope,
            "filters",
            old,
            new,
            f"{owner}/{used[0] if len(used) == 1 else '*_filters'}",
        )

    def _accesses_row(self) -> Row | None:
        old, new = accesses(self.before), accesses(self.after)
        if old == new or (not self.before and new == "all"):
            return None
        tree = self.after or self.before
        place = EARLY if f"{EARLY}/use_reports" in tree else SAMPLE
        return Row("~" if self.before else "+", "", "accesses", old, new, place)

    def _target_row(self, directory: str) -> Row | None:
        old, new = target(self.before, directory), target(self.after, directory)
        if old == new:
            return None
        sign = "+" if not old else "~" if new else "-"
        number = self._at(directory, self.back if not new else {}).rpartition("/")[2]
        return Row(sign, "", f"targets[{number}]", old, new, directory)


def _pids(tree: Tree) -> dict[str, str]:
    """Return the pids of targets by directory; those of physical memory have none."""
    return {
        path.removesuffix("/pid_target"): pid
        for path, pid in tree.items()
        if path.endswith("/pid_target") and pid != "0"
    }


def _usual(path: str, value: str, tree: Tree) -> bool:
    """Return whether an added or removed value is the policy's default."""
    if re.match(_MOST, path):
        # to the kernel an upper bound of 0 is the default, to people it narrows most of all
        return value in (str(U32_MAX), str(U64_MAX))
    if _SAID.match(path):
        return False
    if path.endswith("/nid"):
        return "node_" not in tree.get(path.replace("nid", "target_metric"), "")
    if path.endswith("/quotas/bytes"):
        return value == "0" and not _unlimited(path, tree)
    return value == default(path)


def _unlimited(path: str, tree: Tree) -> bool:
    """Return whether a scheme that moves memory has no limit; ``path`` is its quota's."""
    scheme = _SCHEME.match(path)
    base = scheme[0] if scheme else ""
    limits = ("bytes", "ms", "goals/nr_goals")
    return tree.get(f"{base}/action") in MOVING and all(
        tree.get(f"{base}/quotas/{name}", "0") == "0" for name in limits
    )


def _word(path: str) -> str:
    found = by_kernel(path)
    word = found.ours if found else path.rpartition("/")[2]
    if _PROBE.match(path):
        word = word.removeprefix("probes.")
    if path.endswith("fail_charge_denom"):
        word = word.removesuffix(".of")
    item = re.match(_ITEM, path)
    if item:
        for list_ in ("quota.goals", "to", "preps"):
            if word.startswith(list_):
                return f"{list_}[{item[3]}]{word.removeprefix(list_)}"
    return word


def _text(path: str, value: str, tree: Tree) -> str:
    word = by_kernel(path)
    if value == "0" and path.endswith("/quotas/bytes") and _unlimited(path, tree):
        return "unlimited"
    if value == "0" and word and word.ours in _ZERO_IS_NONE:
        return "none"
    if found := re.match(r"(.*/fail_charge)_(?:num|denom)\Z", path):
        numbers = [tree.get(f"{found[1]}_{part}", "0") for part in ("num", "denom")]
        return "none" if numbers == ["0", "0"] else "/".join(numbers)
    return value_text(word.unit if word else "text", value, tree, path)


def _order(row: Row) -> tuple[object, ...]:
    """Return the order of a policy: schemes by number, settings as the language lists them."""
    kind = 0 if not row.scope else 1 if row.scope.startswith("probe") else 2
    found = _SCHEME.match(row.path) or _PROBE.match(row.path)
    own, group = rank(row.path), (0, 0)
    if row.word == "position":
        own = -1
    item = re.match(_ITEM, row.path)
    if item:
        group = (int(item[3]), own)
        own = rank(f"{item[1]}0/{_FIRST[item[2]]}")
    elif row.path.endswith("_filters"):
        own = rank(f"{row.path.rpartition('/')[0]}/filters/0/type")
    elif row.path in (SAMPLE, EARLY):
        own = rank(f"{SAMPLE}/primitives/page_table")
    elif row.word.startswith("targets"):
        own = rank("contexts/0/targets/0/pid_target")
    return (kind, _natural(found[0] if found else ""), own, group, _natural(row.path))


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.split("/")]
