"""Compilation of a policy's modules to settings: files, contents, missing parameters."""

from __future__ import annotations

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.features import by_file, first_kernel
from damonpolicy.kernel.damon.modules import module_of, parameter_path
from damonpolicy.kernel.settings import missing
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.policy.model.policy import Policy
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import modules as rules

__all__ = ("compile_modules",)


def compile_modules(
    policy: Policy, at: Cursor, capabilities: Capabilities, machine: Machine | None
) -> tuple[dict[str, str], list[Diagnostic]]:
    """Return the files of a policy's modules, and refusals.

    A file shows whether the kernel has a parameter; without ``machine``, the kernel's features
    decide.
    """
    files: dict[str, str] = {}
    found: list[Diagnostic] = []
    absent: set[str] = set()
    for path, content, place in rules.contents(policy, at):
        module, usual = module_of(path), "1" if path.endswith("/addr_unit") else "0"
        if _there(path, capabilities, machine):
            files[path] = content
        elif module in absent or missing(path, content):
            continue
        elif not _there(parameter_path(module, "enabled"), capabilities, machine):
            absent.add(module)
            feature = by_file(parameter_path(module, "enabled"))
            hint = f"{first_kernel(feature.name)}, with " if feature else "it needs "
            message = f"this kernel lacks the module `{module}`"
            found.append(_lacking(at("modules", module), message, f"{hint}CONFIG_{module.upper()}"))
        elif content not in ("N", "0", usual):  # else it equals the behaviour without it
            feature = by_file(path)
            message = f"`{module}` of this kernel lacks `{path.rpartition('/')[2]}`"
            found.append(_lacking(place, message, first_kernel(feature.name) if feature else ""))
    return files, found


def _there(path: str, capabilities: Capabilities, machine: Machine | None) -> bool:
    if machine is not None:
        return machine.exists(path)
    feature = by_file(path)
    return feature is None or capabilities.has(feature.name)


def _lacking(at: Cursor, message: str, hint: str) -> Diagnostic:
    return Diagnostic.error("DP0401", at.key, message, hint=hint, unsupported=True)
