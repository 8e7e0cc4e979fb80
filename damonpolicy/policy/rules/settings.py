"""Rules on settings beside DAMON's: their paths, and their dependencies."""

from __future__ import annotations

import re

from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.kernel.forms import Number, Numbers, form_of
from damonpolicy.kernel.settings import (
    ADVISOR,
    COUPLED,
    EXTENSION,
    PAGES,
    TICKS,
    beyond,
    malformed,
    missing,
    normalise,
    paced,
    refusal,
    unreadable,
    usual,
    written,
)
from damonpolicy.kernel.system.machine import Machine, entries, read_or
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, rule

__all__ = ("check", "check_machine")

_TICK = 20
"""Milliseconds that are a whole number of timer ticks at 100, 250, 300 and 1000 Hz."""

_PAGES_DEFAULT = "100"
"""The kernel's values when its advisor ends (mm/ksm.c: set_advisor_defaults())."""


def _path(name: str) -> str:
    """Return the hint with the file for another form of its name."""
    trimmed = name.strip("/")
    as_path = trimmed if "/" in trimmed else trimmed.replace(".", "/")
    for above in ("", "/proc/sys", "/sys", "/sys/kernel"):
        path = f"{above}/{as_path}"
        if usual(path) and not malformed(path):
            return f"write `{path}`"
    return "settings are files such as `/sys/kernel/mm/ksm/run`"


@rule
def check(policy: Policy, at: Cursor, *, anywhere: bool) -> Findings:
    """Yield settings that no machine accepts; with ``anywhere``, warn of those that some refuse."""
    for path, value in policy.settings.items():
        reason = malformed(path)
        if reason:
            message = f"`{path[:80]}` cannot be set: {reason}"
            yield at(path).key.error("DP0242", message, _path(path))
        elif anywhere and not usual(path):
            message = f"`{path[:80]}` is not on the list of settings"
            hint = f"where root has not added it to {EXTENSION}, it is refused"
            yield at(path).key.warning("DP0242", message, hint)
        other = COUPLED.get(path)
        if other in policy.settings and path > str(other):
            message = f"the kernel clears `{other}` when this is written"
            related = [(at(str(other)).key, "set here")]
            yield at(path).key.error("DP0246", message, "set one of the two", related=related)
        text = written(path, value)
        if path == TICKS and text.isdecimal() and int(text) % _TICK:
            message = f"the kernel rounds `{text}` to its timer's ticks"
            yield at(path).value.error("DP0247", message, f"write a multiple of {_TICK}")
        if wrong := beyond(path, value):
            number = re.match(r"-?[0-9]+(?=[^0-9xX])", value)
            counts = isinstance(form_of(path), (Number, Numbers))
            if number and counts and not beyond(path, number[0]):
                wrong = f"write `{number[0]}`: {wrong}"
            yield at(path).value.error("DP0313", f"`{path}` cannot be `{value[:40]}`", wrong)


@rule
def check_machine(policy: Policy, at: Cursor, machine: Machine) -> Findings:
    """Yield settings that are not allowed or not possible on this machine."""
    for path, value in policy.settings.items():
        if malformed(path):  # which was reported before
            continue
        place = at("settings", path)
        reason = refusal(machine, path)
        if reason:
            hint = f"root may add it to {EXTENSION}"
            yield place.key.error("DP0242", f"`{path[:80]}` cannot be set: {reason}", hint)
        elif machine.exists(path):
            mode = machine.mode(path)
            if not (mode & 0o400 and mode & 0o200):
                what = "written" if mode & 0o400 else "read, so it could not be put back"
                message = f"`{path}` cannot be set: it cannot be {what}"
                yield place.key.error("DP0242", message, "remove it")
                continue
            wrong = unreadable(path, read_or(machine, path), value)
            if wrong and not beyond(path, value):  # which was reported before
                yield place.value.error("DP0313", f"`{path}` cannot be `{value[:40]}`", wrong)
            yield from _put_back(policy, path, place, machine)
        elif missing(path, value):
            message = f"this kernel has no `{path}`, which is as good as `{value}`"
            yield Diagnostic.note("DP0645", place.key, message)
        else:
            parent, _, name = path.rpartition("/")
            hint = did_you_mean(name, entries(machine, parent))
            message = f"this kernel has no `{path}`"
            yield Diagnostic.error("DP0307", place.key, message, hint=hint, unsupported=True)


@rule
def _put_back(policy: Policy, path: str, at: Cursor, machine: Machine) -> Findings:
    """Yield settings that could be written, but never restored."""
    other = COUPLED.get(path)
    if other and _reads(machine, path) == "0" != _reads(machine, other):
        message = f"this machine uses `{other}`, which the kernel would clear"
        yield at.key.error("DP0311", message, f"set `{other}`, or write this file by hand first")
    advised = paced(_reads(machine, ADVISOR))
    if path == PAGES and advised and paced(policy.settings.get(ADVISOR, "on")):
        message = "the KSM advisor is on, and sets this by itself"
        yield at.key.error("DP0312", message, f"set `{ADVISOR}: none` too")
    pages = _reads(machine, PAGES)
    if path == ADVISOR and paced(policy.settings[path]) and not advised and pages != _PAGES_DEFAULT:
        message = f"`{PAGES}` is {pages} here, which is lost when the advisor ends"
        yield at.key.error("DP0312", message, f"write {_PAGES_DEFAULT} to it by hand first")


def _reads(machine: Machine, path: str) -> str:
    return normalise(read_or(machine, path))
