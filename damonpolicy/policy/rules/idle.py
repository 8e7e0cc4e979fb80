"""Rules on schemes that the rest of the policy, or the machine, keeps from acting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.system.machine import Machine, entries, read_or
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, readable, rule

__all__ = ("check", "check_machine")

_THP = "/sys/kernel/mm/transparent_hugepage"
_SHARED = f"{_THP}/shmem_enabled"
"""The switch for memory of memfd and tmpfs, which `enabled` does not cover (mm/shmem.c)."""
_SIZES = re.compile(rf"{_THP}/hugepages-\d+kB/enabled\Z")


@rule
def check(policy: Policy, at: Cursor) -> Findings:
    """Yield schemes that the policy itself keeps from acting."""
    yield from _huge(policy, at, policy.known("settings", {}))
    for index, kdamond in readable(policy.kdamonds, "ops", "targets"):
        for number, scheme in enumerate(kdamond.known("schemes", ())):
            yield from _nodes(kdamond, scheme, at("kdamonds", index, "schemes", number))


@rule
def check_machine(policy: Policy, at: Cursor, machine: Machine) -> Findings:
    """Yield schemes that this machine keeps from acting."""
    given = policy.known("settings", {})
    switches = {path: read_or(machine, path) for path in _switches(machine)}
    here = {path: text for path, text in switches.items() if text}  # some sizes have none
    if not _off(given):  # which was reported before
        yield from _huge(policy, at, {**here, **given})
    yield from _swap(policy, at, machine)


def _switches(machine: Machine) -> Iterator[str]:
    yield f"{_THP}/enabled"
    yield _SHARED
    for name in entries(machine, _THP):
        if _SIZES.match(f"{_THP}/{name}/enabled"):
            yield f"{_THP}/{name}/enabled"


def _off(settings: Mapping[str, str]) -> bool:
    """Return whether huge pages of all sizes are switched off."""
    sizes = [value for path, value in settings.items() if _SIZES.match(path)]
    never = normalise(settings.get(f"{_THP}/enabled", "")) == "never"
    shared = normalise(settings.get(_SHARED, "")) in ("advise", "within_size", "always")
    return never and not shared and all(normalise(each) in ("never", "inherit") for each in sizes)


@rule
def _huge(policy: Policy, at: Cursor, settings: Mapping[str, str]) -> Findings:
    """Check `hugepage`, which only allows huge pages (madvise); `collapse` makes them anyway."""
    if not _off(settings):
        return
    path = f"{_THP}/enabled"
    ours = path in policy.known("settings", {})
    where = "this policy" if ours else "this machine"
    message = f"`hugepage` allows huge pages, which {where} switches off: nothing changes"
    hint = f"set `{path}: madvise`, or take `action: collapse`"
    related = [(at("settings", path).value, "switched off here")] if ours else []
    for _, place in _with_action(policy, "hugepage", at):
        yield place.value.warning("DP0684", message, hint, related=related)


@rule
def _swap(policy: Policy, at: Cursor, machine: Machine) -> Findings:
    found = re.search(r"^SwapTotal:\s+0 kB$", read_or(machine, "/proc/meminfo"), re.MULTILINE)
    if not found:
        return
    message = "this machine has no swap: only pages of files can be paged out"
    hint = "add swap, or spare what cannot go: `filters: [{reject: anon}]`"
    for scheme, place in _with_action(policy, "pageout", at):
        filters = scheme.known("filters", ())
        if not any(each.verb == "reject" and each.what == "anon" for each in filters):
            yield place.value.warning("DP0683", message, hint)


def _with_action(policy: Policy, action: str, at: Cursor) -> Iterator[tuple[Scheme, Cursor]]:
    """Yield the schemes with an action, and the place of that."""
    for index, kdamond in readable(policy.kdamonds, "schemes"):
        for number, scheme in readable(kdamond.schemes, "action"):
            if scheme.action == action:
                yield scheme, at("kdamonds", index, "schemes", number, "action")


@rule
def _nodes(kdamond: Kdamond, scheme: Scheme, at: Cursor) -> Findings:
    """Warn of goals on a node where the scheme neither takes memory nor brings it."""
    monitored = {each.numa_node for each in kdamond.targets}
    if kdamond.ops != "paddr" or None in monitored or not monitored:
        return
    to = scheme.to
    touched = monitored | ({each.node for each in to} if isinstance(to, tuple) else {to})
    for index, goal in readable(scheme.limits.goals, "metric", "node"):
        if goal.node is not None and goal.node not in touched:
            place = at("quota", "goals", index, "node").value
            message = f"the scheme has no part in node {goal.node}: it changes nothing there"
            hint = "measure a node that it takes memory from, or brings memory to"
            yield place.warning("DP0685", message, hint)
