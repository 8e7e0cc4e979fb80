"""The checks of `doctor`: obstacles to policies on this machine, with remedies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from damonpolicy.base import etc, trust, typed
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.engine.state_directory import read_json
from damonpolicy.engine.store import Store
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.modules import MODULES, parameter_path
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system import cgroups, memory
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.kernel.system.psi import has_pressure
from damonpolicy.observe.status.stored_state import Remembered, unsettled
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.state import Managed

__all__ = ("Check", "examine")

Verdict = Literal["ok", "note", "problem"]


_VAIN = (
    "DP0248", "DP0258", "DP0259", "DP0260", "DP0261", "DP0262", "DP0263", "DP0680", "DP0681", "DP0682",
)  # fmt: skip
"""Codes for unreachable or misleading filters, and for bounds that nothing meets or exceeds."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    verdict: Verdict
    what: str
    hint: str = ""


def examine(machine: Machine, kept: Store) -> Iterator[Check]:
    """Yield results, the most basic first; only reads."""
    store = Remembered(kept)
    try:
        current = retrieve(machine)
    except DamonPolicyError as error:
        yield Check("problem", error.message, error.hint)
        return
    release = current.host.release
    yield Check("ok", f"DAMON is there (Linux {release}, {_slots_of(len(current.slots))})")
    if not machine.writable:
        yield Check("note", "this is a copied tree, which can only be looked at")
    hint = "run on the host: `nsenter --target 1 --all damonpolicy …`"
    for kind in current.host.namespaces:
        yield Check("problem", f"this is not the machine's own {kind} namespace", hint)
    managed = store.managed(current.host.boot_id)
    if not store.unknown:
        yield from _slots(current, managed)
        yield from _vain(machine, current, managed)
    yield from _modules(machine, current)
    yield from _surroundings(machine, current)
    yield from _state(store, managed, machine.monotonic())
    if trust.guarded(machine.name):
        yield from _files(store)


def _slots_of(number: int) -> str:
    return f"{number} slot{'' if number == 1 else 's'}"


def _slots(current: Current, managed: Managed) -> Iterator[Check]:
    owners = {slot: current.owner(slot, managed) for slot in current.slots}
    for slot, owner in owners.items():
        if owner != "foreign":
            continue
        if current.running(slot):
            what = f"slot {slot} runs a kdamond of someone else (pid {current.pid(slot)})"
            yield Check("note", what, "it is left as it is; `apply --takeover` may take its slot")
        else:
            yield Check("note", f"slot {slot} is configured by someone else, and off")
    if owners and "free" not in owners.values():
        what = "no slot is free, and their number can change only while no kdamond runs"
        yield Check("problem", what, "stop what runs, or use `apply --takeover`")
    for slot, record in managed.slots.items():
        if owners.get(slot) == "ours" and not current.running(slot):
            what = f"the kdamond `{record.kdamond}` has ended (slot {slot})"
            yield Check(
                "problem", what, "it ends when its last process ends; `apply` starts it again"
            )


def _vain(machine: Machine, current: Current, managed: Managed) -> Iterator[Check]:
    """Yield findings on others' kdamonds with parts that never act, as `import` reports them."""
    trees = {slot: current.slot(slot) for slot in current.slots}
    theirs = {
        slot: tree
        for slot, tree in trees.items()
        if current.owner(slot, managed) == "foreign" and Kdamond(tree).contexts.text == "1"
    }
    if not theirs:
        return
    from damonpolicy.policy.importer.policy import (  # the policy language is rarely needed
        Source,
        policy,
    )

    capabilities = detect(machine, current.tree)
    for slot, tree in theirs.items():
        made = policy([Source(f"slot {slot}", "theirs", tree)], "theirs", capabilities, machine)
        for each in made.found:
            if each.code in _VAIN:
                hint = f"`damonpolicy import {slot}` shows where"
                yield Check("note", f"slot {slot}, of someone else: {each.message}", hint)


def _modules(machine: Machine, current: Current) -> Iterator[Check]:
    for module in (each for each in MODULES if each not in current.modules):
        if read_or(machine, parameter_path(module, "enabled")) == "Y":
            what = f"{module.upper()} says that it is enabled, but its kdamond has ended"
            yield Check("problem", what, "such a kernel can switch it again only after a boot")
    for module in current.modules:
        what = f"{module.upper()} runs, and no other kdamond can start beside it"
        hint = f"let a policy stop it: `modules: {{{module}: {{enabled: false}}}}`"
        yield Check("note", what, hint)


def _surroundings(machine: Machine, current: Current) -> Iterator[Check]:
    capabilities = detect(machine, current.tree)
    sources = {answer.source for answer in capabilities.answers.values()}
    unknown = [each.name for each in capabilities if capabilities.known(each.name) == "unknown"]
    if unknown and "btf" not in sources:
        what = f"{len(unknown)} features are unknown, because the kernel has no BTF"
        hint = "they are tried when a policy needs them, and undone where the kernel refuses"
        yield Check("note", what, hint)
    try:
        ranges = memory.system_ram(machine)
    except DamonPolicyError as error:
        yield Check("problem", error.message, error.hint)
    else:
        if not ranges:
            yield Check("note", "there is no System RAM in /proc/iomem, so `system_ram` is empty")
    if not has_pressure(machine):
        what = "the kernel does not measure memory pressure: goals on `some_mem_psi_us` are refused"
        yield Check("note", what, "boot with `psi=1`")
    if not cgroups.has_memory(machine, "/"):
        what = "there is no memory controller in the cgroup v2 tree: `memcg` filters are refused"
        yield Check("note", what)


def _state(store: Remembered, managed: Managed, now: float) -> Iterator[Check]:
    half, waiting = unsettled(store, managed, now), store.waiting()
    for each in (*store.found, *reversed(half)):
        yield Check("problem", each.message, each.hint)
    if waiting and not managed.policies and not store.unknown:
        what = f"generation {store.confirmed()} is confirmed, and not in force on this boot"
        yield Check("note", what, "`damonpolicy apply --boot` restores it")


def _files(store: Remembered) -> Iterator[Check]:
    """Yield files of root's, and of ours, that are refused because others can change them."""
    places = store.places
    try:
        said = read_json(places.service) or {}
        served = typed.value(tuple[str, ...], said.get("paths", []))
    except (DamonPolicyError, ValueError):  # `status` reports it
        served = ()
    directories = dict.fromkeys((*etc.POLICIES, *served))
    files = [os.path.join(each, name) for each in directories for name in _names(each)]
    lists = (etc.SETTINGS, etc.PROGRAMS, etc.SOURCES)
    state = (places.run, places.lib, places.state, places.generations, places.confirmed)
    found = (trust.why_untrusted(each, etc.ROOT) for each in (*lists, *directories, *files, *state))
    for message, hint in dict.fromkeys((each.message, each.hint) for each in found if each):
        yield Check("problem", message, hint)


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:  # missing, or a file
        return []
