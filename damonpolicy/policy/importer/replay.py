"""Import of deployed writes: they are played on an idle emulated kernel, which is then read.

So each number is read as a kernel reads it, and a refused one is reported at its place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import PurePosixPath
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import COMMIT_INPUTS, PARAMETERS, UNLIMITED, module_of
from damonpolicy.kernel.damon.tree import empty_slot, slot_numbers, slot_tree, snapshot
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.system.machine import KDAMONDS, Machine, read_value
from damonpolicy.policy.compile.plain import spoken
from damonpolicy.policy.importer.locations import Source
from damonpolicy.policy.importer.writes import Write
from damonpolicy.policy.source.nodes import Path

__all__ = ("Deployed", "live", "modules", "played")

_SLOT = Kdamond()
_ENABLED = "enabled"
_COUNTS = "damon_stat"


@dataclass(slots=True)
class Deployed:
    """The kdamonds and module parameters that result from writes, and the errors."""

    sources: list[Source] = field(default_factory=list)
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    spans: dict[Path, Span] = field(default_factory=dict)
    """The places of modules and their parameters in the file, by their places in a policy."""
    found: list[Diagnostic] = field(default_factory=list)


def played(writes: Sequence[Write], machine: Machine, name: str) -> Deployed:
    """Write everything to a temporary machine, on which nothing is started."""
    result = Deployed()
    spans: dict[str, dict[str, Span]] = {}
    parameters: dict[str, str] = {}
    states: dict[str, Write] = {}
    for write in writes:
        own = write.path.removeprefix(f"{KDAMONDS}/")
        number, _, below = own.partition("/")
        if own != write.path and below in (_SLOT.state.path, _SLOT.pid.path):
            if below == _SLOT.state.path and write.value in ("on", "off"):
                states[number] = write
            continue
        if module_of(write.path):
            if write.path.rpartition("/")[2] == COMMIT_INPUTS:
                continue
        elif own == write.path:
            message = f"`{write.path[:80]}` is not one of DAMON's files: the policy leaves it out"
            hint = "`settings:` of a policy writes other files"
            result.found.append(Diagnostic.warning("DP0697", write.span, message, hint=hint))
            continue
        try:
            value = _write(machine, write)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            message = f"the kernel refuses `{write.value[:40]}` for `{write.path[:80]}`: {why}"
            result.found.append(Diagnostic.error("DP0696", write.span, message))
            continue
        if own != write.path:
            mine = spans.setdefault(number, {})
            mine[below] = write.span
            for directory in PurePosixPath(below).parents:  # at its first write
                mine.setdefault(str(directory), write.span)
        else:
            parameters[write.path] = value
            parameter = PARAMETERS[write.path]
            result.spans[("modules", parameter.module)] = write.span
            result.spans[("modules", parameter.module, parameter.name)] = write.span
    result.modules = modules(parameters)
    tree = snapshot(machine)
    for slot in slot_numbers(tree):
        one = slot_tree(tree, slot)
        contexts = Kdamond(one).contexts
        if not empty_slot(one) and contexts.text == "1":
            mine = spans[str(slot)]
            mine[""] = mine.get(contexts.path) or next(iter(mine.values()))
            last = states.get(str(slot))
            if last is None or last.value == "off":
                message = "nothing switches this kdamond on; a policy's runs"
                hint = "leave it out of the policy, or apply that when it is to run"
                span = last.span if last else mine[""]
                result.found.append(Diagnostic.warning("DP0698", span, message, hint=hint))
            where = f"kdamond {slot} of {name}"
            result.sources.append(Source(where, f"kdamond-{slot}", one, spans=mine))
    return result


def _write(machine: Machine, write: Write) -> str:
    """Write, and return the file's content afterwards."""
    if module_of(write.path) and write.path not in PARAMETERS:
        raise FileNotFoundError(2, "")
    if write.path in PARAMETERS and PARAMETERS[write.path].name == _ENABLED:
        # writing it would start the module
        truth = {"1": "Y", "0": "N"}.get(normalise(write.value))
        if truth is None:
            raise OSError(22, "")
        return truth
    machine.write(write.path, write.value)
    return read_value(machine, write.path)


def modules(contents: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return modules' parameters in the policy's form, from the contents of their files."""
    result: dict[str, dict[str, Any]] = {}
    for path, content in contents.items():
        each = PARAMETERS[path]
        said = normalise(content) == "1" if each.unit == "bool" else spoken(each.unit, content)
        if each.unit == "address":
            unit = int(contents.get(path.replace(each.name, "addr_unit"), "1"))
            said = f"{int(content) * unit:#x}"
        unlimited = each.name in UNLIMITED and not int(content)
        result.setdefault(each.module, {})[each.name] = "unlimited" if unlimited else said
    return result


def live(machine: Machine, running: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the running modules that act, with all of their parameters.

    DAMON_STAT has none. An `addr_unit` of 1 is the default.
    """
    contents = {
        path: text
        for path, each in PARAMETERS.items()
        if each.module in running and each.module != _COUNTS and machine.exists(path)
        if (text := read_value(machine, path)) != "1" or each.name != "addr_unit"
    }
    return modules(contents)
