"""The commands, as click knows them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from damonpolicy.cli.commands.emulate import LEVERS
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS, damonpolicy, find_command
from damonpolicy.cli.show.examples import EXAMPLES
from generator.markdown import MADE, code, table

__all__ = ("VARIABLES", "every", "page", "rows", "usage")

VARIABLES = (
    ("DAMONPOLICY_KERNEL", "the machine, as `--kernel` takes it"),
    ("DAMONPOLICY_MACHINE", "the description of an emulated machine, as `--machine` takes it"),
    ("DAMONPOLICY_FORBID_LIVE", "if set, nothing of the real machine can be written; tests set it"),
    ("DAMONPOLICY_DEBUG", "if set, a defect shows its traceback"),
    ("DAMONPOLICY_NO_CACHE", "if set, every policy is compiled anew, and nothing compiled is kept"),
    ("XDG_CACHE_HOME", "where compiled policies are kept, in `damonpolicy` (`~/.cache`)"),
    ("XDG_STATE_HOME", "where emulated machines are kept (`~/.local/state`)"),
    ("NO_COLOR, FORCE_COLOR", "no colours; colours even without a terminal"),
)


def page() -> str:
    """Return the page."""
    shared = [each for each in damonpolicy.params if isinstance(each, click.Option)]
    parts = [
        "# Commands\n",
        MADE,
        (
            "Data goes to stdout, everything else to stderr. Every command ends with one of the"
            " [exit codes](exit-codes.md).\n"
        ),
        table(("command", "does"), ((f"[`{name}`](#{name})", COMMANDS[name]) for name in COMMANDS)),
        "## Reports\n",
        table(
            ("report", "shows"),
            ((f"[`{name}`](#report-{name})", REPORTS[name]) for name in REPORTS),
        ),
        "## Levers of emulated machines\n",
        table(
            ("lever", "does"),
            ((f"[`{name}`](#emulate-{name})", LEVERS[name]) for name in LEVERS),
        ),
        "## Options of all commands\n",
        "They stand before or after the command's name.\n",
        table(("option", "does"), rows(shared)),
        "## Environment\n",
        table(("variable", "does"), ((code(name), what) for name, what in VARIABLES)),
    ]
    known = {each.name for each in shared}
    for name, command in every():
        own = [
            each
            for each in command.params
            if isinstance(each, click.Option) and each.name not in known
        ]
        parts += [f"## {name}\n", f"```text\n{usage(name, command)}\n```\n"]
        parts += [inspect.cleandoc(command.help or "") + "\n"]
        parts.append("```text\n" + "\n".join(EXAMPLES[name]) + "\n```\n")
        if own:
            parts.append(table(("option", "does"), rows(own)))
    return "\n".join(parts)


def every() -> Iterator[tuple[str, click.Command]]:
    """Yield every command; those of a group come after it, by both names."""
    for name in COMMANDS:
        command = find_command(name)
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield f"{name} {each}", found


def usage(name: str, command: click.Command) -> str:
    """Return the line that a command's help begins with."""
    context = click.Context(command, info_name=f"damonpolicy {name}")
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def rows(options: list[click.Option]) -> Iterator[tuple[str, str]]:
    """Yield each option with its metavar, and what it does."""
    for each in options:
        names = ", ".join(sorted(each.opts, key=len))
        takes = not (each.is_flag or each.count)
        metavar = each.metavar or (
            "|".join(each.type.choices) if isinstance(each.type, click.Choice) else ""
        )
        default = _default(each) if takes else ""
        what = f"{each.help or ''} (default: {default})" if default else each.help or ""
        yield code(f"{names} {metavar}" if takes and metavar else names), what


def _default(option: click.Option) -> str:
    """Return what holds where an option is not given, as its help says it; empty for nothing."""
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.to_info_dict()["default"]
    return "" if default is None else str(default)
