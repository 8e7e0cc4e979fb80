"""Policies as what people deploy without a tool: a shell script, or parameters of the kernel.

`plan.writes` reads both again. A script begins with a machine on which no kdamond is configured,
and says nothing of files that hold what they hold then.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from damonpolicy.errors import UsageError
from damonpolicy.kernel.modules import module_of
from damonpolicy.kernel.settings import normalise
from damonpolicy.plan.bind import Bound
from damonpolicy.plan.compiled import CompiledPolicy
from damonpolicy.plan.current import Current
from damonpolicy.plan.managed import Managed
from damonpolicy.plan.order import Wanted, make_plan

__all__ = ("cmdline", "script")

_NOTHING = {"nr_kdamonds": "0"}
_SYSCTL = "/proc/sys/"
_PLAIN = re.compile(r"[^\s\"]+")


def script(
    policies: Mapping[str, CompiledPolicy], bound: Mapping[str, Bound], current: Current
) -> str:
    """Return a shell script that writes what policies are; ``bound`` are their kdamonds.

    Settings come first, then kdamonds, which start together at the end, then modules.
    Raises Foreign where a module that runs lets nothing start beside it.
    """
    settings = _settings(policies)
    idle, nobody = replace(current, tree=_NOTHING, starts={}), Managed(current.host.boot_id)
    make_plan(idle, nobody, Wanted(policies, bound, tuple(policies)))  # for what it refuses
    # a setting is said whatever it is here
    bare = {name: replace(each, settings={}) for name, each in policies.items()}
    plan = make_plan(replace(idle, modules=()), nobody, Wanted(bare, bound, tuple(policies)))
    before = {path: text for path, text in settings.items() if not _of_running(path, settings)}
    writes = [
        *before.items(),
        *((each.path, each.after) for each in plan.operations),
        *_last({path: text for path, text in settings.items() if path not in before}),
    ]
    head = f"#!/bin/sh\n# {', '.join(sorted(policies))} for Linux {current.host.release}\nset -e\n"
    return head + "".join(
        f"echo {shlex.quote(text)} > {shlex.quote(path)}\n" for path, text in writes
    )


def cmdline(policies: Mapping[str, CompiledPolicy]) -> str:
    """Return modules and sysctls of policies as one line for the kernel's command line.

    Raises UsageError for what has no parameter there.
    """
    hint = "`damonpolicy render --script` writes all of it"
    for policy in policies.values():
        for kdamond in policy.kdamonds:
            message = f"the kernel has no parameters for kdamonds such as `{kdamond.full_name}`"
            raise UsageError(message, hint=hint)
    settings = _settings(policies)
    words = list(_parameters(_last(settings), hint))
    if not words:
        raise UsageError("these policies say nothing that the kernel has parameters for", hint=hint)
    return " ".join(words) + "\n"


def _settings(policies: Mapping[str, CompiledPolicy]) -> dict[str, str]:
    return {path: text for each in policies.values() for path, text in each.settings.items()}


def _of_running(path: str, settings: Mapping[str, str]) -> bool:
    """Tell whether a file is one of a module that is switched on: nothing starts beside it."""
    module = module_of(path)
    return bool(module) and any(
        _switches(each) and module_of(each) == module and normalise(text) == "1"
        for each, text in settings.items()
    )


def _last(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return settings in an order in which a module is switched on after it has its parameters."""
    return sorted(settings.items(), key=lambda each: _switches(each[0]))


def _switches(path: str) -> bool:
    return bool(module_of(path)) and path.endswith("/enabled")


def _parameters(settings: Iterable[tuple[str, str]], hint: str) -> Iterator[str]:
    for path, text in settings:
        module = module_of(path)
        if module:
            name = f"{module}.{path.rpartition('/')[2]}"
        elif path.startswith(_SYSCTL):  # Documentation/admin-guide/kernel-parameters.txt
            name = f"sysctl.{path.removeprefix(_SYSCTL).replace('/', '.')}"
        else:
            raise UsageError(f"the kernel has no parameter for `{path[:80]}`", hint=hint)
        yield f"{name}={text}" if _PLAIN.fullmatch(text) else f'{name}="{text}"'
