"""Rendering of policies for deployment without a tool: a shell script, or kernel parameters.

`policy.importer.writes` reads both back. A script assumes a machine on which no kdamond is configured, and
omits files that have their values there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from damonpolicy.base.errors import UsageError
from damonpolicy.kernel.damon.modules import module_of
from damonpolicy.kernel.damon.view import Kdamonds
from damonpolicy.kernel.settings import ADVISOR, normalise
from damonpolicy.plan.bind import Bound
from damonpolicy.plan.ir import CompiledPolicy, by_name
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.modules import switches
from damonpolicy.plan.planner import Wanted, make_plan
from damonpolicy.plan.state import Managed

__all__ = ("cmdline", "script")

_NOTHING = {Kdamonds().count.path: "0"}
_SYSCTL = "/proc/sys/"
_OF_MODULE = r"/sys/module/([^/]+)/parameters/([^/]+)"
_PLAIN = r"[^\s\"]+"


def script(
    policies: Mapping[str, CompiledPolicy], bound: Mapping[str, Bound], current: Current
) -> str:
    """Return a shell script that writes policies; ``bound`` are their kdamonds.

    Settings come first, then kdamonds, which start together at the end, then modules.
    Raises Foreign if a running module prevents all others from starting.
    """
    settings = _settings(policies)
    _refused(policies, bound, current)
    # a setting is written whatever its value is here
    bare = {name: replace(each, settings={}) for name, each in policies.items()}
    idle = replace(current, tree=_NOTHING, starts={}, modules=())
    plan = make_plan(idle, Managed(current.host.boot_id), Wanted(bare, bound, tuple(policies)))
    before = {path: text for path, text in settings.items() if not _of_running(path, settings)}
    running = {path: text for path, text in settings.items() if path not in before}
    writes = [
        # a running module takes its parameters when it is switched on again
        *((path, "N") for path in running if switches(path)),
        *before.items(),
        *((each.path, each.after) for each in plan.operations),
        *_last(running),
    ]
    head = f"#!/bin/sh\n# {', '.join(sorted(policies))} for Linux {current.host.release}\nset -e\n"
    return head + "".join(f"{_line(path, text)}\n" for path, text in writes)


def _line(path: str, text: str) -> str:
    # the meaning of a backslash to `echo` differs between shells
    print_ = r"printf '%s\n'" if "\\" in text else "echo"
    return f"{print_} {shlex.quote(text)} > {shlex.quote(path)}"


def cmdline(policies: Mapping[str, CompiledPolicy], current: Current) -> str:
    """Return policies' modules and sysctls as one line for the kernel's command line.

    Raises UsageError for parts without a parameter there, and Foreign as `script` does.
    """
    hint = "`damonpolicy render --script` writes all of it"
    for name in by_name(policies):
        message = f"the kernel has no parameters for kdamonds such as `{name}`"
        raise UsageError(message, hint=hint)
    settings = _settings(policies)
    _refused(policies, {}, current)
    words = list(_parameters(_last(settings), hint))
    if not words:
        raise UsageError("these policies say nothing that the kernel has parameters for", hint=hint)
    return " ".join(words) + "\n"


def _refused(
    policies: Mapping[str, CompiledPolicy], bound: Mapping[str, Bound], current: Current
) -> None:
    """Raise the errors of a plan for these policies, on this machine without kdamonds."""
    idle, nobody = replace(current, tree=_NOTHING, starts={}), Managed(current.host.boot_id)
    make_plan(idle, nobody, Wanted(policies, bound, tuple(policies)))


def _settings(policies: Mapping[str, CompiledPolicy]) -> dict[str, str]:
    """Return all settings, with KSM's advisor before the files that it owns while it runs."""
    found = {path: text for each in policies.values() for path, text in each.settings.items()}
    return dict(sorted(found.items(), key=lambda each: each[0] != ADVISOR))


def _of_running(path: str, settings: Mapping[str, str]) -> bool:
    """Return whether a file belongs to a switched-on module, beside which nothing starts."""
    module = module_of(path)
    return bool(module) and any(
        switches(each) and module_of(each) == module and normalise(text) == "1"
        for each, text in settings.items()
    )


def _last(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return settings with each module switched on after its parameters are set."""
    return sorted(settings.items(), key=lambda each: switches(each[0]))


def _parameters(settings: Iterable[tuple[str, str]], hint: str) -> Iterator[str]:
    for path, text in settings:
        if found := re.fullmatch(_OF_MODULE, path):
            name = f"{found[1]}.{found[2]}"
        elif path.startswith(_SYSCTL):  # Documentation/admin-guide/kernel-parameters.txt
            name = f"sysctl.{path.removeprefix(_SYSCTL).replace('/', '.')}"
        else:
            raise UsageError(
                f"`render` knows no parameter of the kernel for `{path[:80]}`", hint=hint
            )
        yield f"{name}={text}" if re.fullmatch(_PLAIN, text) else f'{name}="{text}"'
