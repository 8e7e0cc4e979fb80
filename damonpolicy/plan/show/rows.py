"""The difference between two trees of a kdamond as rows, in the policy's words.

Schemes, probes and processes are compared with those of the same name before, at any position.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U32_MAX, U64_MAX
from damonpolicy.kernel.damon import schema
from damonpolicy.kernel.damon.actions import MOVING
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.tree import Tree, is_volatile
from damonpolicy.kernel.damon.view import Goal, Kdamond, Quota, Scheme
from damonpolicy.kernel.damon.words import rank
from damonpolicy.plan.facts import accesses, layers, target
from damonpolicy.plan.normal import limits_nothing
from damonpolicy.plan.plan import KdamondPlan
from damonpolicy.plan.show.texts import chain, value_text

__all__ = ("Row", "rows")

_ANY = Kdamond()
_UNKNOWN = schema.Row("", "value")
_SAID = ("ops", "action", "to.node", "quota.goals.metric", "probes.preps")
"""Rows shown even for the kernel's default: the monitored memory, and the action."""
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
            self._align(_ANY.schemes, each.names_before, each.names)
            self._align(_ANY.probes, each.names_before, each.names)
            self._align(_ANY.targets, _pids(before), _pids(each.after))
        self.back = {new: old for old, new in self.moved.items()}
        self.before = {self._at(path, self.moved): value for path, value in before.items()}

    def _align(self, kind: Numbered[Any], old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Renumber items: kept names get their new position, removed ones come last."""
        here = {name: path for path, name in new.items() if kind.holds(path)}
        for path, name in old.items():
            if found := kind.holding(path):
                self.moved[path] = here.pop(name, kind[_SPARE + int(found.name)].path)
                self.names.setdefault(self.moved[path], name)

    def _at(self, path: str, moves: Mapping[str, str]) -> str:
        places = (each.holding(path) for each in (_ANY.schemes, _ANY.probes, _ANY.targets))
        here = next((found.path for found in places if found), path)
        return moves.get(here, here) + path[len(here) :]

    def all(self) -> list[Row]:
        found: dict[tuple[str, str, str], Row] = {}
        told: set[str] = set()
        for old, new in self.moved.items():
            was, now = (each.rpartition("/")[2] for each in (old, new))
            if was != now and int(now) < _SPARE and not _ANY.targets.holds(new):
                scope = self._scope(new)
                found[scope, "position", new] = Row("~", scope, "position", was, now, new)
        for path in {**self.before, **self.after}:
            before, after = self.before.get(path), self.after.get(path)
            together = "" if before == after else _filters_of(path)
            if together in told:
                continue  # all of its filters are one row
            if together:
                told.add(together)
            made = self._row(path, before, after)
            if made is not None:
                found.setdefault((made.scope, made.word, made.path), made)
        ordered = sorted(found.values(), key=_order)
        return [replace(row, path=self._at(row.path, self.back) if row.sign == "-" else row.path)
                for row in ordered]  # fmt: skip

    def _row(self, path: str, old: str | None, new: str | None) -> Row | None:
        scope, known = self._scope(path), _known(path)
        begins = self.anew and known.volatile == "tuned"  # where the kernel's tuning starts
        if old == new or (is_volatile(path, self.after) and not begins):
            return None
        if _ANY.sample.holds(path) or _ANY.early_accesses.holds(path):
            return self._accesses_row()
        if filters := _filters_of(path):
            return self._filter_row(scope, filters)
        if found := _ANY.targets.holding(path):
            return self._target_row(found.path)
        if known.kind == "count":
            return None
        if new is None and _usual(path, old or "", self.before):
            return None
        if old is None and _usual(path, new or "", self.after):
            return None
        sign = "+" if old is None else "-" if new is None else "~"
        before = "" if old is None else _text(path, old, self.before)
        if old is None and known.volatile == "tuned" and self.before:
            sign, before = "~", "tuned"
        after = "" if new is None else _text(path, new, self.after)
        word = _word(path)
        if word == "quota.size" and "unlimited" in (before, after):
            word = "quota"
        if word == "quota.fail_charge":
            path = Quota(path=path.rpartition("/")[0]).fail_charge.path
        return Row(sign, scope, word, before, after, path)

    def _scope(self, path: str) -> str:
        for kind, listed in (("scheme", _ANY.schemes), ("probe", _ANY.probes)):
            if found := listed.holding(path):
                return f"{kind} {self.names.get(found.path, found.name)}"
        return ""

    def _filter_row(self, scope: str, owner: str) -> Row | None:
        """Return all filters of a scheme or probe as one row, in the order of the kernel."""
        old, new = chain(self.before, owner), chain(self.after, owner)
        if old == new:
            return None
        was, now = Scheme(self.before, owner), Scheme(self.after, owner)
        sign = "+" if not old and not was.action.present else "~"
        if not new and not now.action.present:
            sign = "-"
        tree = self.after if new else self.before
        used = [each.path for each in layers(tree, owner) if len(each)]
        place = used[0] if len(used) == 1 else f"{owner}/*_filters"
        return Row(sign, scope, "filters", old, new, place)

    def _accesses_row(self) -> Row | None:
        old, new = accesses(self.before).text, accesses(self.after).text
        if old == new or (not self.before and new == "all"):
            return None
        kdamond = Kdamond(self.after or self.before)
        early = kdamond.early_accesses
        place = early if early.use_reports.present else kdamond.sample
        return Row("~" if self.before else "+", "", "accesses", old, new, place.path)

    def _target_row(self, directory: str) -> Row | None:
        old, new = (target(tree, directory).text for tree in (self.before, self.after))
        if old == new:
            return None
        sign = "+" if not old else "~" if new else "-"
        number = self._at(directory, self.back if not new else {}).rpartition("/")[2]
        return Row(sign, "", f"targets[{number}]", old, new, directory)


def _filters_of(path: str) -> str:
    """Return the scheme or probe whose filters a path belongs to, empty for another path."""
    owner = _ANY.schemes.holding(path) or _ANY.probes.holding(path)
    mine = owner and any(each.holds(path) for each in layers({}, owner.path))
    return owner.path if owner and mine else ""


def _pids(tree: Tree) -> dict[str, str]:
    """Return the pids of targets by directory; those of physical memory have none."""
    targets = Kdamond(tree).targets
    return {each.path: each.pid.text for each in targets if each.pid.text != "0"}


def _known(path: str) -> schema.Row:
    return schema.row(path) or _UNKNOWN


def _usual(path: str, value: str, tree: Tree) -> bool:
    """Return whether an added or removed value is the policy's default."""
    ours = _known(path).ours
    if ours.startswith("access_pattern.") and ours.endswith(".max"):
        # to the kernel an upper bound of 0 is the default, to people it narrows most of all
        return value in (str(U32_MAX), str(U64_MAX))
    if ours == "quota.goals.node":
        return "node_" not in Goal(tree, path.rpartition("/")[0]).metric.text
    if ours == "quota.size":
        return value == "0" and not _unlimited(path, tree)
    return ours not in _SAID and value == schema.default(path)


def _unlimited(path: str, tree: Tree) -> bool:
    """Return whether a scheme that moves memory has no limit; ``path`` is its quota's."""
    scheme = Kdamond(tree).schemes.holding(path)
    if scheme is None or scheme.action.text not in MOVING:
        return False
    return limits_nothing(tree, scheme.quota.path)


def _item(path: str) -> tuple[int, str] | None:
    """Return the number of a goal, node or preparation in a path, and the first file of its list."""
    if scheme := _ANY.schemes.holding(path):
        goals, dests = scheme.quota.goals, scheme.dests
        if goal := goals.holding(path):
            return int(goal.name), goals[0].metric.path
        if dest := dests.holding(path):
            return int(dest.name), dests[0].node.path
    elif probe := _ANY.probes.holding(path):
        if prep := probe.preps.holding(path):
            return int(prep.name), probe.preps[0].action.path
    return None


def _word(path: str) -> str:
    word = _known(path).ours or path.rpartition("/")[2]
    word = word.removeprefix("probes.") if _ANY.probes.holds(path) else word
    word = word.removesuffix(".of") if word == "quota.fail_charge.of" else word
    if item := _item(path):
        for list_ in ("quota.goals", "to", "preps"):
            if word.startswith(list_):
                return f"{list_}[{item[0]}]{word.removeprefix(list_)}"
    return word


def _text(path: str, value: str, tree: Tree) -> str:
    known = _known(path)
    ours = known.ours
    if value == "0" and ours == "quota.size" and _unlimited(path, tree):
        return "unlimited"
    if value == "0" and ours in _ZERO_IS_NONE:
        return "none"
    if ours.startswith("quota.fail_charge"):
        quota = Quota(tree, path.rpartition("/")[0])
        numbers = [quota.fail_charge.text, quota.fail_charge_of.text]
        return "none" if numbers == ["0", "0"] else "/".join(numbers)
    return value_text(known.unit, value, tree, path)


def _order(row: Row) -> tuple[object, ...]:
    """Return the order of a policy: schemes by number, settings as the language lists them."""
    kind = 0 if not row.scope else 1 if row.scope.startswith("probe") else 2
    found = _ANY.schemes.holding(row.path) or _ANY.probes.holding(row.path)
    own, group = rank(row.path), (0, 0)
    if row.word == "position":
        own = -1
    if item := _item(row.path):
        group = (item[0], own)
        own = rank(item[1])
    elif row.path.endswith("_filters"):
        own = rank(Scheme(path=row.path.rpartition("/")[0]).filters[0].type.path)
    elif row.word == "accesses":
        own = rank(_ANY.sample.page_table.path)
    elif row.word.startswith("targets"):
        own = rank(_ANY.targets[0].pid.path)
    return (kind, _natural(found.path if found else ""), own, group, _natural(row.path))


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.split("/")]
