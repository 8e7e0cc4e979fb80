"""``damonpolicy emulate``: events on an emulated machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base.diagnostics import as_text, closest
from damonpolicy.base.errors import DamonPolicyError, UsageError, reason_of
from damonpolicy.base.units import UnitError, read_duration
from damonpolicy.cli.context import Invocation, common, subcommand
from damonpolicy.cli.groups import Group
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.damon.features import NEWEST
from damonpolicy.kernel.system.cgroups import matching
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.processes import Selector, find

if TYPE_CHECKING:
    from damonpolicy.emulated.machine import EmulatedMachine

__all__ = ("LEVERS", "command")

LEVERS: Mapping[str, str] = {
    "reboot": "boot again: DAMON and settings are as at boot",
    "start": "start a program",
    "exit": "end a program",
    "read": "print a file",
    "write": "write to a file, as someone else would",
    "forward": "let time pass at once",
}
"""Every lever and its effect."""


def _machine(invocation: Invocation) -> EmulatedMachine:
    """Open the machine; refuse a real one, and a copy of its files."""
    name = "a copy" if invocation.root is not None else invocation.kernel_name
    if name in ("live", "a copy"):
        hint = f"add `--kernel emulated:{NEWEST}`, or set `DAMONPOLICY_KERNEL`"
        raise UsageError(f"`emulate` is for emulated machines, and this is {name}", hint=hint)
    from damonpolicy.emulated.machine import EmulatedMachine

    machine = invocation.machine()
    assert isinstance(machine, EmulatedMachine)
    return machine


_LONGEST = 255


def _done(line: str, **data: object) -> Result:
    return Result(as_text([line]), data, changed=True)


@subcommand("reboot")
def _reboot(invocation: Invocation) -> Result:
    """Boot again: another boot id, no kdamond, settings and processes as at the first boot."""
    machine = _machine(invocation)
    machine.reboot()
    return _done("rebooted")


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Accept a valid name of a program's file."""
    del context, parameter
    if not value or "/" in value or len(value) > _LONGEST or not value.isprintable():
        hint = "a program has a short name without `/`; `--exe` says where it is"
        raise UsageError(f"`{value[:40]!s}` is not a program name", hint=hint)
    return value


@subcommand("start")
@click.argument("name", callback=_name)
@click.option("--pid", type=click.IntRange(1, 1 << 22), help="its number; by default a free one")
@click.option(
    "--cgroup", metavar="PATH", default="/", help="where it belongs; made if it is not there"
)
@click.option("--exe", metavar="FILE", help="its program; by default NAME in /usr/bin")
@click.option("--cmdline", metavar="TEXT", help="its command line")
@click.option("--uid", type=click.IntRange(0, (1 << 32) - 2), default=0, help="its user")
@click.option(
    "--area",
    "areas",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="a piece of memory, with the keys of an area of a machine file"
    " (by default one of 64MiB, accessed in half of all samples)",
)
def _start(
    invocation: Invocation, name: str, *, cgroup: str, areas: Sequence[str], **more: Any
) -> Result:
    """Start a program, and print its pid."""
    machine = _machine(invocation)
    if not cgroup.startswith("/") or not cgroup.isprintable() or ".." in cgroup.split("/"):
        near = closest(f"/{cgroup.strip('/')}", [each or "/" for each in matching(machine, "/**")])
        hint = f"did you mean `{near}`?" if near else "write it from the root, such as `/db.slice`"
        raise UsageError(f"`{cgroup[:80]}` is not the path of a cgroup", hint=hint)
    described = [_area(each) for each in areas] or [{"size": "64MiB", "rate": "50%"}]
    try:
        given = {key: value for key, value in more.items() if value is not None}
        found = machine.start_process(name, areas=described, cgroup=cgroup, **given)
    except OSError as error:
        raise DamonPolicyError(f"`{name}` cannot be started: {reason_of(error)}") from error
    return Result(f"{found}\n", {"pid": found}, changed=True, raw=True)


def _area(text: str) -> dict[str, object]:
    """Read `size=64MiB,rate=80%` as the table of a machine file."""
    found: dict[str, object] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if not equals:
            hint = "write for example `--area size=64MiB,rate=80%`"
            raise UsageError(f"`{word}` is not a key with a value", hint=hint)
        truth = {"true": True, "false": False}.get(value, value)
        number = key == "node" and value.isdecimal() and len(value) < 10
        found[key] = int(value) if number else truth
    return found


@subcommand("exit")
@click.argument("program", metavar="PID|NAME")
def _exit(invocation: Invocation, program: str) -> Result:
    """End a program; a kdamond that monitored nothing else ends with it."""
    machine = _machine(invocation)
    pid = int(program) if program.isdecimal() and len(program) < 10 else _called(machine, program)
    try:
        machine.exit_process(pid)
    except ProcessLookupError as error:
        raise DamonPolicyError(f"there is no process {pid} that could be ended") from error
    return _done(f"{pid} ended", pid=pid)


def _called(machine: Machine, name: str) -> int:
    found = [each.pid for each in find(machine, Selector(name=name))]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(map(str, found[:8]))
    hint = f"these are called so: {listed}" if found else "`damonpolicy emulate start` starts one"
    raise UsageError(f"`{name[:40]}` is neither a pid nor the name of one program", hint=hint)


@subcommand("read")
@click.argument("path")
def _read(invocation: Invocation, path: str) -> Result:
    """Print the file PATH, as `cat PATH` would."""
    machine = _machine(invocation)
    try:
        text = machine.read(path)
    except OSError as error:
        raise DamonPolicyError(f"`{path}` cannot be read: {reason_of(error)}") from error
    return Result(text, {"path": path, "text": text}, raw=True)


@subcommand("write", context_settings={"ignore_unknown_options": True})
@click.argument("path")
@click.argument("text")
def _write(invocation: Invocation, path: str, text: str) -> Result:
    """Write TEXT to the file PATH, as someone else would by `echo TEXT > PATH`."""
    machine = _machine(invocation)
    try:
        machine.write(path, text)
    except FileNotFoundError as error:
        raise DamonPolicyError(f"there is no file `{path[:200]}`") from error
    except OSError as error:
        raise DamonPolicyError(f"`{path}` takes no `{text[:80]}`: {reason_of(error)}") from error
    return _done(f"wrote `{text}` to `{path}`", path=path, text=text)


@subcommand("forward", context_settings={"ignore_unknown_options": True})
@click.argument("time", metavar="TIME")
def _forward(invocation: Invocation, time: str) -> Result:
    """Let TIME pass at once, such as `25m`: ages grow, quotas and watermarks are used."""
    machine = _machine(invocation)
    try:
        micros = read_duration(time)
    except UnitError as error:
        raise UsageError(error.message, hint=error.hint) from error
    machine.forward(micros / 1e6)
    return _done(f"{time} passed", passed_us=micros)


_COMMANDS = {each.name: each for each in (_reboot, _start, _exit, _read, _write, _forward)}


@click.group(
    "emulate",
    cls=Group,
    texts=LEVERS,
    find=_COMMANDS.__getitem__,
    title="Levers",
    missing="nothing that can happen is called",
)
@common
def command() -> None:
    """Let something happen to an emulated machine: pages and tests need no waiting with it.

    No real machine is touched.
    """
