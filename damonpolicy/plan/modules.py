"""DAMON's modules among the settings: when to switch each, and which changes a running one takes.

A module is switched off first and on last, as nothing runs beside it. Its parameters change while
it is off, or are handed over at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from damonpolicy.base.errors import Foreign, PolicyInvalid
from damonpolicy.base.units import format_duration
from damonpolicy.kernel.damon.modules import (
    COMMIT_INPUTS,
    MODULES,
    PARAMETERS,
    REGION,
    module_of,
    parameter_path,
    problems,
)
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.settings import normalise
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.settings import SettingPlan, operation
from damonpolicy.plan.state import Managed

__all__ = ("refuse_others", "settled", "steps", "switches")


_LONGEST_PAUSE = 30_000_000
"""The longest wait, in microseconds, for a module to take its parameters; otherwise it restarts."""


def settled(
    plans: Sequence[SettingPlan], current: Current, managed: Managed, *, busy: bool
) -> list[SettingPlan]:
    """Return the settings with the kernel's own changes to them.

    A region chosen by the kernel belongs to the policy that switched the module on. A module that
    cannot run again yet, because some kdamond runs (``busy``), is restored later.
    """
    known = {each.path: each for each in plans}
    for module in MODULES:
        switch = known.get(parameter_path(module, "enabled"))
        if switch is not None and switch.users and _on(switch.after):
            known |= _regions(module, switch, known, current, managed)
    runs = {module for module in current.modules if parameter_path(module, "enabled") not in known}
    runs |= {
        module_of(each.path)
        for each in known.values()
        if switches(each.path) and each.users and _on(each.after)
    }
    for path, each in known.items():
        if switches(each.path) and each.restored and _on(each.after) and not _on(each.before):
            if busy or runs - {module_of(path)}:
                known[path] = replace(each, after=each.before, owed=True)
        elif switches(each.path) and each.restored and module_of(path) not in current.modules:
            known[path] = replace(each, after=each.before)  # its kdamond has ended
    return list(known.values())


def switches(path: str) -> bool:
    """Return whether a file switches a module on and off."""
    return bool(module_of(path)) and path.endswith("/enabled")


def _on(content: str) -> bool:
    return normalise(content) == "1"


def _regions(
    module: str,
    switch: SettingPlan,
    known: Mapping[str, SettingPlan],
    current: Current,
    managed: Managed,
) -> dict[str, SettingPlan]:
    """Return the region's parameters if the kernel fills them in, or has done so."""
    paths = [parameter_path(module, name) for name in REGION]
    if any(path in known and known[path].users for path in paths):
        return {}  # the policy sets the region
    before = [current.settings.get(path) for path in paths]
    records = [managed.settings.get(path) for path in paths]
    if not any(records) and (_on(switch.before) or before != ["0", "0"]):
        return {}  # it runs already, or someone has set the region
    found = {}
    for path, content, record in zip(paths, before, records, strict=True):
        if content is None:
            return {}
        original = record.original if record else content
        after = record.written if record and record.chosen else original
        found[path] = SettingPlan(path, content, after, original, switch.users, chosen=True)
    return found if all(each.original == "0" for each in found.values()) else {}


def steps(current: Current, plans: Sequence[SettingPlan]) -> tuple[list[Operation], list[str]]:
    """Return the writes for the modules, ordered within each phase, and remarks.

    Raises PolicyInvalid if a module would be left with parameters that it cannot run with, Foreign
    if it is wrecked.
    """
    switched: list[Operation] = []
    parameters: list[Operation] = []
    remarks = []
    for module in MODULES:
        own = [each for each in plans if module_of(each.path) == module]
        if not own:
            continue
        switch = next((each for each in own if switches(each.path)), None)
        path = parameter_path(module, "enabled")
        was = module in current.modules
        runs = _on(switch.after) if switch else was
        if switch and _on(switch.before) and not was:
            if switch.users:
                raise Foreign(
                    f"`{module}` says that it is enabled, but its kdamond has ended",
                    hint="such a kernel can switch it again only after a boot",
                )
            runs = False
        changed = [
            each for plan in own if plan is not switch and (each := operation(plan, "settings"))
        ]
        if runs and (changed or not was):
            _refuse_bad(module, current, own)
        again = was and runs and bool(changed)
        inputs = parameter_path(module, COMMIT_INPUTS)
        files = current.settings.get(inputs) is not None
        pauses = _pause(module, current.settings), _pause(module, _after(current, own))
        online = again and files and max(pauses) <= _LONGEST_PAUSE
        parameters += changed
        if online:
            parameters.append(Operation("inputs", "settings", inputs, "N", "Y"))
            within = format_duration(pauses[0])
            remarks.append(f"{module} goes on running, with new parameters within {within}")
        if was and (not runs or (again and not online)):
            switched.append(Operation("setting", "settings", path, "Y", "N"))
        if runs and (not was or (again and not online)):
            switched.append(Operation("setting", "modules", path, "N", "Y"))
        if again and not online:
            why = "this kernel cannot change it while it runs"
            if files:
                why = f"it looks for new parameters only every {format_duration(max(pauses))}"
            remarks.append(f"{module} restarts and loses its monitoring results: {why}")
        if switch and switch.owed:
            remarks.append(f"{module} is switched on again once no kdamond runs")
    return [*switched, *parameters], remarks


def _pause(module: str, settings: Mapping[str, str | None]) -> int:
    """Return the longest time in microseconds until a module looks for new parameters."""
    names = ("aggr_interval", "wmarks_interval")
    texts = (settings.get(parameter_path(module, name)) or "" for name in names)
    return max((int(text) for text in texts if text.isdecimal()), default=0)


def _after(current: Current, plans: Sequence[SettingPlan]) -> dict[str, str | None]:
    return {**current.settings, **{each.path: each.after for each in plans}}


def _refuse_bad(module: str, current: Current, plans: Sequence[SettingPlan]) -> None:
    """Repeat the rules' checks for all policies together, as a bad commit can end a module."""
    after = _after(current, plans)
    contents = {
        each.name: after.get(path) or ""
        for path, each in PARAMETERS.items()
        if each.module == module
    }
    for problem in problems(module, contents):
        what = "what it cannot run with" if problem.fatal else "what does not go together"
        message = f"`{module}` would be left with {what}: {problem.message}"
        hint = "see which policies and who else set its parameters: `damonpolicy status`"
        raise PolicyInvalid(message, hint=hint, code=problem.code)


def refuse_others(
    current: Current,
    policies: Mapping[str, CompiledPolicy],
    plans: Sequence[SettingPlan],
    *,
    starts: bool,
    foreign: Sequence[int],
) -> None:
    """Refuse a module beside kdamonds or other modules; the kernel would answer EBUSY.

    ``starts`` is whether a kdamond of ours starts, ``foreign`` are the slots that run someone
    else's. Raises PolicyInvalid between policies, Foreign for someone else's.
    """
    known = {module_of(each.path): each for each in plans if switches(each.path)}
    ours = {name: each.users[0] for name, each in known.items() if each.users and _on(each.after)}
    theirs = [
        name
        for name in current.modules
        if name not in ours and (name not in known or _on(known[name].after))
    ]
    others = [policy.name for policy in policies.values() if policy.kdamonds]
    for name, user in ours.items():
        beside = [f"the kdamonds of `{other}`" for other in others]
        beside += [f"the module `{other}` of `{ours[other]}`" for other in ours if other < name]
        if beside:
            message = f"the module `{name}` of `{user}` cannot run beside {beside[0]}"
            hint = "`damonpolicy remove NAME` ends one that runs, `--prune` all that are not given"
            wrong = PolicyInvalid(message, hint=hint, code="DP0253")
            wrong.about = (
                (user, "modules"), *((other, "kdamonds") for other in others),
                *((ours[other], "modules") for other in ours),
            )  # fmt: skip
            raise wrong
        if not _on(known[name].before) and foreign:
            slot = foreign[0]
            message = (
                f"`{name}` lets no other kdamond run beside it, and slot {slot} runs one of"
                f" someone else (pid {current.pid(slot)})"
            )
            raise Foreign(message, hint="stop it first")
    if theirs and (starts or any(not _on(known[name].before) for name in ours)):
        raise Foreign(
            f"the kernel's {theirs[0].upper()} runs, and no other kdamond can start beside it",
            hint=f"let the policy stop it: `modules: {{{theirs[0]}: {{enabled: false}}}}`",
        )
