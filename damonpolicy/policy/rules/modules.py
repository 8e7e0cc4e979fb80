"""Rules on DAMON's modules: valid parameters, and only one kdamond at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import NoPermission
from damonpolicy.base.units import U64_MAX, approximate_bytes
from damonpolicy.kernel.damon import modules as kernel
from damonpolicy.kernel.settings import normalise, written
from damonpolicy.kernel.system import memory
from damonpolicy.kernel.system.machine import Machine, read_or
from damonpolicy.kernel.system.psi import has_pressure
from damonpolicy.policy.model.modules import Module, Modules
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.reading.read import Cursor, Read
from damonpolicy.policy.rules.rule import Findings, Rules, rule

__all__ = ("check", "check_machine", "check_together", "contents", "service_needed")

_ALL_MEMORY = (
    kernel.parameter_path("damon_reclaim", "autotune_monitoring_intervals"),
    kernel.parameter_path("damon_stat", "kdamond_pid"),
)
"""Files of kernels on which a module without a region gets all of System RAM."""
_IN_UNITS = ("DP0219", "DP0220", "DP0222", "DP0259", "DP0260", "DP0261")
"""Problems with a value in the hint; below `settings`, numbers are the kernel's."""
_WORTH = 100
"""A smaller share is not reported: PCs have a small piece below 1 MiB."""
_FINENESS = {
    "ms": "a whole number of milliseconds",
    "permil": "finer than a permil (0.1%)",
    "bp": "finer than a basis point (0.01%)",
}


def contents(policy: Policy, at: Cursor) -> Iterator[tuple[str, str, Cursor]]:
    """Yield the path, content and place of every parameter in a policy."""
    for name, module in policy.known("modules", Modules()).given().items():
        for parameter, content in module.contents(name).items():
            place = at("modules", name, parameter)
            yield kernel.parameter_path(name, parameter), content, place


def _given(policy: Policy, at: Cursor) -> Iterator[tuple[str, dict[str, str], dict[str, Cursor]]]:
    """Yield the modules that a policy mentions, below `modules` or `settings`.

    Each comes with the contents of its files, and their places.
    """
    settings = policy.known("settings", {}).items()
    files = [(path, written(path, value), at("settings", path)) for path, value in settings]
    found: dict[str, dict[str, tuple[str, Cursor]]] = {}
    for path, content, place in (*contents(policy, at), *files):
        if (each := kernel.PARAMETERS.get(path)) is not None:
            found.setdefault(each.module, {}).setdefault(each.name, (content, place))
    for module, given in found.items():
        yield (
            module,
            {name: content for name, (content, _) in given.items()},
            {name: place for name, (_, place) in given.items()},
        )


check = Rules[[Policy, Cursor]]()
"""The rules on the modules of one policy, on any machine."""
_check_module = Rules[[Module, Cursor]]()
"""The rules on one module."""


@check.add
def _parameters(policy: Policy, at: Cursor) -> Findings:
    for name, module in policy.modules.given().items():
        yield from _exact(name, module, at("modules", name))
        yield from _check_module(module, at("modules", name))
    for name, given, places in _given(policy, at):
        for problem in kernel.problems(name, given):
            yield _located(problem, places)


@check.add
def _exclusive_here(policy: Policy, at: Cursor) -> Findings:
    yield from _exclusive([(policy, at)])


@check.add
def _duplicates(policy: Policy, at: Cursor) -> Findings:
    for path, _, place in contents(policy, at):
        if path in policy.settings:
            message = f"`{path}` is under `settings` and under `modules`"
            related = [(at("settings", path).key, "here too")]
            yield place.key.error("DP0223", message, "remove one of them", related=related)


@rule
def check_together(reads: Sequence[Read]) -> Findings:
    """Yield conflicts between several policies."""
    yield from _exclusive([(read.policy, read.cursor) for read in reads], across=True)


@rule
def check_machine(policy: Policy, at: Cursor, machine: Machine) -> Findings:
    """Yield parameters that conflict with those that this machine has already."""
    for name, given, places in _given(policy, at):
        here = {
            each.name: read_or(machine, each.path)
            for each in kernel.PARAMETERS.values()
            if each.module == name
        }
        on = normalise(given.get("enabled", here["enabled"])) == "1"
        known = {problem.names for problem in kernel.problems(name, given)}
        for problem in kernel.problems(name, {**here, **given}) if on else ():
            touched = problem.fatal or any(each in given for each in problem.names)
            if touched and problem.names not in known:
                yield _located(problem, places)
        if on and name != "damon_stat" and given.keys().isdisjoint(kernel.REGION):
            place = places.get("enabled") or next(iter(places.values()))
            yield from _memory_left_out(name, here, place, machine)
        if given.get("quota_mem_pressure_us", "0") != "0" and not has_pressure(machine):
            where = places["quota_mem_pressure_us"].value
            message = "the kernel does not measure memory pressure, so this goal reads 0 for ever"
            yield where.error("DP0308", message, "boot with `psi=1`")


@rule
def _memory_left_out(name: str, here: Mapping[str, str], at: Cursor, machine: Machine) -> Findings:
    """Warn of the memory that a module without a region leaves out on older kernels.

    That is the quirk module.largest. No file shows it, but the same release brought others.
    """
    if any(map(machine.exists, _ALL_MEMORY)):
        return
    try:
        ram = memory.system_ram(machine)
    except NoPermission:  # only root sees addresses
        return
    start, end = (int(here.get(each) or 0) for each in kernel.REGION)
    if not end:
        start, end = max(ram, key=lambda each: each[1] - each[0], default=(0, 0))
    total = sum(high - low for low, high in ram)
    seen = sum(max(min(high, end) - max(low, start), 0) for low, high in ram)
    if (total - seen) * _WORTH > total:
        left, all_ = approximate_bytes(total - seen), approximate_bytes(total)
        message = f"without a region `{name}` sees the largest piece of System RAM"
        hint = (
            f"add `monitor_region_start: {ram[0][0]:#x}` and"
            f" `monitor_region_end: {ram[-1][1]:#x}`: all of it, and the holes, where nothing is"
        )
        yield at.value.warning("DP0687", f"{message}: {left} of {all_} is left out", hint)


@rule
def service_needed(policy: Policy, at: Cursor) -> Findings:
    """Yield goals that need a feeder, if there is no service."""
    reclaim = policy.modules.damon_reclaim
    if reclaim is not None and reclaim.quota_autotune_feedback:
        place = at("modules", "damon_reclaim", "quota_autotune_feedback")
        message = "nothing feeds this goal: the quota would move until it cannot move further"
        hint = "`--unfed` applies it all the same, for you to write it"
        yield place.value.error("DP0230", message, hint)


def _located(problem: kernel.Problem, places: dict[str, Cursor]) -> Diagnostic:
    """Point at the policy's parameter, or at the key that switches the module on."""
    names = (*problem.names, "enabled", *places)
    place, hint = places[next(filter(places.__contains__, names))], problem.hint
    if place.path[:1] == ("settings",) and problem.code in _IN_UNITS:
        hint = f"{hint} in `modules:`, which takes units"
    return place.value.error(problem.code, problem.message, hint)


@rule
def _exact(name: str, module: Module, at: Cursor) -> Findings:
    """Check that values in the kernel's whole numbers do not vanish in rounding."""
    for parameter, value in module.exact(name).items():
        unit = kernel.PARAMETERS[kernel.parameter_path(name, parameter)].unit
        if value.denominator != 1:
            message = f"`{parameter}` is {_FINENESS[unit]}"
            yield at(parameter).value.error("DP0250", message, "round it")
        elif value > U64_MAX:
            yield at(parameter).value.error("DP0119", "this is out of range (64 bits)")


@_check_module.add
def _auto_tune(module: Module, at: Cursor) -> Findings:
    """Check for parameters that the kernel would ignore or reinterpret beside another one."""
    given = module.model_fields_set
    if getattr(module, "autotune_monitoring_intervals", None):
        for name in ("sample_interval", "aggr_interval"):
            if name in given:
                message = f"`{name}` is ignored where the kernel tunes the intervals"
                hint = "remove it, or `autotune_monitoring_intervals`"
                related = [(at("autotune_monitoring_intervals").value, "tuned by this")]
                yield at(name).key.error("DP0255", message, hint, related=related)
        for name in ("min_age", "cold_min_age"):
            if getattr(module, name, None):
                message = f"`{name}` becomes a longer one once the kernel has tuned the aggregation"
                hint = "the kernel counts it in aggregations, of which each may grow to 200s"
                yield at(name).value.warning("DP0221", message, hint)


@_check_module.add
def _region(module: Module, at: Cursor) -> Findings:
    start, end = (getattr(module, name, None) for name in kernel.REGION)
    if start is not None and end is None:
        message = "the region does not say where it ends"
        hint = "add `monitor_region_end`, or leave both out: the kernel then chooses"
        yield at(kernel.REGION[0]).key.error("DP0204", message, hint)
    elif start == end == 0:
        hint = "leave both out: the kernel then chooses"
        yield at(kernel.REGION[1]).value.error("DP0204", "the region is empty", hint)


@_check_module.add
def _units(module: Module, at: Cursor) -> Findings:
    unit, place = getattr(module, "addr_unit", None) or 1, at("addr_unit")
    if unit == 1 or unit & (unit - 1):  # the latter is reported as wrong
        return
    if module.known("quota_sz"):
        message = "with `addr_unit` the kernel counts `quota_sz` in units, not in bytes"
        hint = "leave `addr_unit` out, or limit `quota_ms` instead"
        related = [(at("quota_sz").value, "in bytes")]
        yield place.value.error("DP0236", message, hint, related=related)
    values = [getattr(module, name, None) for name in kernel.REGION]
    if None in values:
        # Up to 7.0 the region that the kernel chooses is in bytes, and used as units.
        message = "with `addr_unit` some kernels choose a region of other memory"
        hint = "add `monitor_region_start` and `monitor_region_end`"
        yield place.value.error("DP0236", message, hint)
    for name, value in zip(kernel.REGION, values, strict=True):
        if value is not None and value % unit:
            message = f"`{name}` is not a whole number of units of {unit} bytes"
            yield at(name).value.error("DP0236", message, "round it")


def _running(policy: Policy, at: Cursor) -> Iterator[tuple[str, Cursor]]:
    """Yield the modules that a policy switches on, and where."""
    for name, module in policy.known("modules", Modules()).given().items():
        if module.known("enabled"):
            yield name, at("modules", name, "enabled")
    for path, value in policy.known("settings", {}).items():
        switch = kernel.PARAMETERS.get(path)
        if switch is not None and switch.name == "enabled" and normalise(value) == "1":
            yield switch.module, at("settings", path)


@rule
def _exclusive(policies: Sequence[tuple[Policy, Cursor]], *, across: bool = False) -> Findings:
    """Yield modules beside kdamonds or other modules; ``across`` only those of two policies."""
    seen: list[tuple[int, str, Cursor]] = []
    for number, (policy, at) in enumerate(policies):
        seen += [(number, name, place) for name, place in _running(policy, at)]
    for index, (number, name, place) in enumerate(seen):
        beside = [
            at("kdamonds").key
            for other, (policy, at) in enumerate(policies)
            if policy.known("kdamonds") and (other != number) == across
        ]
        others = [
            (second, at.value)
            for other, second, at in seen[:index]
            if second != name and (other != number) == across
        ]
        if beside:
            message = f"`{name}` lets no other kdamond run beside it"
            hint = "remove the kdamonds, or `enabled: true`"
            yield place.value.error("DP0253", message, hint, related=[(beside[0], "these would")])
        if others:
            message = f"`{name}` cannot run beside `{others[0][0]}`"
            related = [(others[0][1], "switched on here")]
            yield place.value.error("DP0253", message, "switch one of them off", related=related)
