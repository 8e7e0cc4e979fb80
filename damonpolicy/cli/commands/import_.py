"""``damonpolicy import``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from damonpolicy.base.errors import ExitCode, PolicyInvalid, UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result

if TYPE_CHECKING:
    from damonpolicy.kernel.damon.capabilities import Capabilities
    from damonpolicy.plan.machine_state import Current
    from damonpolicy.plan.state import Managed
    from damonpolicy.policy.importer.policy import Imported, Source
    from damonpolicy.policy.source.files import SourceFile

__all__ = ("command",)

_EVERYTHING = "damon-next"
"""The emulated kernel on which the writes of files are played: it has all of DAMON's files."""


@subcommand("import")
@click.argument("sources", nargs=-1, metavar="[SLOT...|FILE]")
@click.option("--name", default="imported", metavar="NAME", help="the policy's name")
@click.option(
    "--ops",
    type=click.Choice(["paddr", "vaddr", "fvaddr"]),
    help="what a bare list of schemes is for; else all memory",
)
def command(invocation: Invocation, sources: Sequence[str], name: str, ops: str | None) -> Result:
    """Print what the kernel is configured to, or a file of damo, as a policy.

    Without SLOT all kdamonds, whoever made them. FILE is a configuration of damo, as JSON or
    YAML, a list of schemes; or a kernel command line, a file of modprobe.d or tmpfiles.d, or a
    shell script of `echo VALUE > FILE`, of which nothing is executed. The policy is compiled again and compared: what it would make
    otherwise is told.
    """
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        hint = "up to 63 letters, digits, `-`, `_` and `.`, a letter or digit first"
        raise UsageError(f"`--name {name[:40]!a}` is not a valid policy name", hint=hint)
    if all(re.fullmatch("[0-9]{1,9}", each) for each in sources):
        if ops:
            hint = "`damonpolicy import FILE --ops OPS` is for a file with a list of schemes"
            raise UsageError("`--ops` is for files: what runs has its own", hint=hint)
        found = _live(invocation, list(dict.fromkeys(map(int, sources))), name)
    else:
        found = _of_file(invocation, sources, name, ops or "")
    errors = any(each.severity == "error" for each in found.found)
    return Result(
        found.text,
        {"policy": found.text, "differences": list(found.differences)},
        ExitCode.INVALID if errors else ExitCode.OK,
        diagnostics=found.found,
        texts={**invocation.texts, f"{name}.yaml": found.text},
        raw=True,
    )


def _live(invocation: Invocation, slots: Sequence[int], name: str) -> Imported:
    from damonpolicy.cli.show.preview import looked_at
    from damonpolicy.kernel.damon.capabilities import detect
    from damonpolicy.observe.status.stored_state import unfinished
    from damonpolicy.plan.machine_state import retrieve
    from damonpolicy.policy.importer.policy import policy
    from damonpolicy.policy.importer.replay import live

    machine = invocation.machine()
    current = retrieve(machine)
    for slot in slots:
        if slot not in current.slots:
            raise UsageError(f"there is no slot {slot}", hint="`damonpolicy status` lists them")
    session, store = looked_at(invocation)
    managed = session.managed
    sources = _slots(current, managed, slots)
    given = {} if slots else live(machine, current.modules)
    if not sources and not given:
        hint = "`damonpolicy status` shows what is"
        if current.modules:
            hint = f"{current.modules[0]} runs, which a policy has under `modules:`"
        raise UsageError("no kdamond is configured", hint=hint)
    whose = "live configuration of" if machine.here else f"configuration of {machine.name},"
    comments = [f"Imported from the {whose} Linux {current.host.release}."]
    if managed.settings:
        comments.append("Settings of our policies are not part of it: `damonpolicy status`.")
    comments += [
        f"{module.upper()} runs here, and lets no kdamond start beside it."
        for module in current.modules
        if module not in given
    ]
    capabilities = detect(machine, current.tree)
    result = policy(sources, name, capabilities, machine, comments, modules=given)
    half = unfinished(store, managed, machine.monotonic())
    return replace(result, found=(*store.found, *half, *result.found))


def _slots(current: Current, managed: Managed, wanted: Sequence[int]) -> list[Source]:
    from damonpolicy.kernel.damon.tree import empty_slot
    from damonpolicy.kernel.damon.view import Kdamond
    from damonpolicy.policy.importer.policy import Source

    result: list[Source] = []
    for slot in wanted or current.slots:
        tree = current.slot(slot)
        if empty_slot(tree) or Kdamond(tree).contexts.text != "1":
            if wanted:
                hint = "`damonpolicy status` shows what is"
                raise UsageError(f"the kdamond of slot {slot} is not configured", hint=hint)
            continue
        ours = current.owner(slot, managed) == "ours"
        record = managed.slots.get(slot) if ours else None
        name = record.kdamond.rpartition("/")[2] if record else f"kdamond-{slot}"
        if any(each.name == name for each in result):
            name = f"{name}-of-slot-{slot}"
        result.append(Source(f"slot {slot}", name, tree, record.names if record else {}))
    return result


def _of_file(invocation: Invocation, sources: Sequence[str], name: str, ops: str) -> Imported:
    from damonpolicy.kernel.damon.capabilities import Answer, Capabilities
    from damonpolicy.kernel.damon.features import FEATURES
    from damonpolicy.policy.importer import damo
    from damonpolicy.policy.importer.policy import policy
    from damonpolicy.policy.importer.writes import deployed
    from damonpolicy.policy.source import nodes
    from damonpolicy.policy.source.files import read_file
    from damonpolicy.policy.source.yaml import parse_foreign

    if len(sources) != 1:
        raise UsageError("`import` takes slots, or one file", hint="import files one by one")
    file, unreadable = read_file(sources[0])
    invocation.texts[file.name] = file.text
    if unreadable is not None:
        raise PolicyInvalid(diagnostics=(unreadable,))
    all_kernels = Capabilities({each.name: Answer("yes", "assumed") for each in FEATURES})
    if deployed(file.text):
        return _deployed(file, name, all_kernels)
    top, found = parse_foreign(file.name, file.text)
    if found:
        raise PolicyInvalid(diagnostics=found)
    if not isinstance(top, nodes.Mapping | nodes.Sequence):
        hint = "`damonpolicy import --help` lists what it reads"
        raise UsageError(f"`{file.name}` contains nothing for DAMON", hint=hint)
    if isinstance(top, nodes.Mapping) and top.get("version") and top.get("name"):
        hint = f"`damonpolicy validate {file.name}` checks it"
        raise UsageError(f"`{file.name}` is a policy of damonpolicy already", hint=hint)
    made, found = damo.sources(top, file.name, ops)
    if any(each.severity == "error" for each in found):
        raise PolicyInvalid(diagnostics=found)
    comments = [f"Imported from damo's {os.path.basename(file.name)}."]
    result = policy(made, name, all_kernels, None, comments)
    return replace(result, found=(*found, *result.found))


def _deployed(file: SourceFile, name: str, capabilities: Capabilities) -> Imported:
    from damonpolicy.emulated.machine import EmulatedMachine
    from damonpolicy.policy.importer.policy import policy
    from damonpolicy.policy.importer.replay import played
    from damonpolicy.policy.importer.writes import writes

    listed, found = writes(file.name, file.text)
    made = played(listed, EmulatedMachine.create(_EVERYTHING), file.name)
    found += made.found
    if any(each.severity == "error" for each in found):
        raise PolicyInvalid(diagnostics=found)
    if not made.sources and not made.modules:
        hint = "`damonpolicy import --help`"
        raise UsageError(f"`{file.name}` writes nothing to DAMON", hint=hint)
    comments = [f"Imported from {os.path.basename(file.name)}."]
    result = policy(
        made.sources, name, capabilities, None, comments, modules=made.modules, spans=made.spans
    )
    return replace(result, found=(*found, *result.found))
