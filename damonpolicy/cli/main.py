"""The ``damonpolicy`` command: finds a command's file, and prints its result."""

from __future__ import annotations

import functools
import itertools
import keyword
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import NoReturn

import click

from damonpolicy import __version__
from damonpolicy.base.errors import (
    DamonPolicyError,
    ExitCode,
    Interrupted,
    UsageError,
    defect,
    reason_of,
    system_error,
)
from damonpolicy.base.handlers import handled
from damonpolicy.cli.context import Invocation, common
from damonpolicy.cli.groups import PROGRAM, Group, imported
from damonpolicy.cli.show.examples import epilog
from damonpolicy.cli.show.fitting import columns
from damonpolicy.cli.show.output import Result, emit, failure, only_errors
from damonpolicy.engine.signals import keeping

__all__ = ("COMMANDS", "find_command", "main")

COMMANDS: Mapping[str, str] = {
    "init": "write a shipped policy",
    "validate": "check policies without touching the machine",
    "plan": "show what apply would do",
    "apply": "apply policies to the machine, all or nothing",
    "run": "keep policies applied: the service",
    "confirm": "keep a change that waits to be confirmed",
    "rollback": "go back to an earlier generation",
    "recover": "end a transaction that was interrupted",
    "history": "list the generations",
    "show": "print the text of what was applied",
    "status": "show what runs, and who owns it",
    "diff": "show how the machine drifted from what was committed",
    "remove": "end policies and put their settings back",
    "stop": "end all policies",
    "record": "record what running kdamonds see",
    "report": "show what the kernel sees: hot and cold memory",
    "top": "watch kdamonds, schemes and regions live",
    "convert": "write records in another form",
    "import": "print the kernel's configuration as a policy",
    "render": "print policies as a script, or as kernel parameters",
    "features": "list what this kernel can do",
    "doctor": "find obstacles, and what to do about them",
    "emulate": "simulate an event on an emulated machine",
    "explain": "explain a key of the policy language, or a finding",
    "schema": "print the JSON Schema of policies, or of a command's JSON",
    "completion": "print a completion script for a shell",
}
"""Every command and its summary; each is in a file of the same name."""

_INSTEAD = {
    word: hint
    for words, hint in (
        ("--dry-run --check --diff --noop -n", "`damonpolicy plan` shows what would be done"),
        ("--yes --force --assume-yes -y -f", "there are no questions: leave it out"),
        ("--undo --revert undo revert", "`damonpolicy rollback` goes back"),
        ("start load up enable install create", "`damonpolicy apply` starts policies"),
        ("list ls ps get info", "`damonpolicy status` shows what runs"),
        ("cat view describe print", "`damonpolicy show NAME` prints a policy"),
        (
            "delete rm unload destroy uninstall disable kill down",
            "`damonpolicy remove NAME` ends a policy, `damonpolicy stop --all` ends all",
        ),
        (
            "reload restart refresh",
            (
                "`damonpolicy apply FILE` applies a file again; the service takes its files by"
                " itself, and at once by `systemctl reload damonpolicy`"
            ),
        ),
        ("daemon serve watch", "`damonpolicy run` is the service"),
        ("why man docs doc", "`damonpolicy explain KEY` explains a key"),
        ("edit", "edit the policy's file, and run `damonpolicy apply FILE`"),
        ("export", "`damonpolicy import` prints what the kernel is configured to as a policy"),
        ("version", "`damonpolicy --version` prints it"),
        ("check lint test", "`damonpolicy validate` checks policies"),
        ("log generations", "`damonpolicy history` lists the generations"),
        ("help", "`damonpolicy --help` lists the commands"),
    )
    for word in words.split()
}
"""Words typed by habit, and their equivalent here."""

_NEVER_GUESSED = ("--prune", "--takeover", "--all")
"""Options that end something in use."""

_COMPLETING = "_DAMONPOLICY_COMPLETE"
"""Set when a shell asks for completions."""

_WIDEST = 100

_EPILOG = (
    epilog("") + "\n\nExit codes: " + "; ".join(f"{int(code)} {code.meaning}" for code in ExitCode)
)


def find_command(name: str) -> click.Command:
    """Import a command's file; the file of a command named like a keyword ends in an underscore."""
    command = imported(f"{name}_" if keyword.iskeyword(name) else name)
    command.epilog = epilog(name)
    return command


@click.group(
    PROGRAM,
    cls=Group,
    texts=COMMANDS,
    find=find_command,
    title="Commands",
    missing="there is no command",
    hints=_INSTEAD,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": _WIDEST,
        "show_default": True,  # of every option of every command
    },
    epilog=_EPILOG,
)
@functools.partial(common, findings=True)
@click.version_option(__version__, "--version", prog_name=PROGRAM)
def damonpolicy() -> None:
    """Declarative policies for DAMON: plan, apply all or nothing, undo.

    Start with `damonpolicy init ksm`, look with `damonpolicy plan ksm.yaml`, then
    `damonpolicy apply ksm.yaml`. Add `--kernel emulated:7.3` to try it on no real kernel.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; exits with a code of `errors.ExitCode`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # the caller closed it: otherwise the next file gets its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if _COMPLETING in os.environ:  # the shell would show any error among the user's words
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            _main(arguments)
    _main(arguments)


def _main(arguments: list[str] | None) -> NoReturn:
    invocation = Invocation()
    words = sys.argv[1:] if arguments is None else arguments
    result = Result(raw=True)
    try:
        with _ended_by_signals(), keeping():
            result = _run(words, invocation)
            form = invocation.form
            shown = only_errors(result) if invocation.quiet and form == "text" else result
            emit(shown, command=invocation.command, form=form, kernel=_kernel(invocation, shown))
            sys.stdout.flush()
    except KeyboardInterrupt:
        # while the result was printed: nothing was changed, or the signal waits
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        # the reader has gone, which is not an error: the change stays
        _close_output()
    except OSError as error:
        _close_output()
        sys.stderr.write(f"error: the output cannot be written: {reason_of(error)}\n")
        sys.exit(int(result.exit_code) or int(ExitCode.FAILED))
    sys.exit(int(result.exit_code))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end a command as Ctrl-C does: unfinished files are removed.

    A command that changes a machine handles them itself meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGHUP)
    unhandled = [each for each in numbers if signal.getsignal(each) == signal.SIG_DFL]
    with handled(dict.fromkeys(unhandled, signal.default_int_handler)):
        yield


def _close_output() -> None:
    """Discard unwritten output, so that exiting raises no second error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _kernel(invocation: Invocation, result: Result) -> dict[str, str] | None:
    if result.exit_code == ExitCode.INTERNAL:
        return None  # the defect may be in the machine
    try:
        return invocation.kernel_json()
    except DamonPolicyError:
        return None


def _run(words: list[str], invocation: Invocation) -> Result:
    invocation.form = _early_format(words)
    try:
        given = damonpolicy.main(
            words,
            prog_name=PROGRAM,
            standalone_mode=False,
            obj=invocation,
            terminal_width=max(min(columns(), _WIDEST) - 2, 50),  # as click does
        )
    except DamonPolicyError as error:
        return failure(error, invocation.texts)
    except click.exceptions.NoArgsIsHelpError as error:
        return Result(text=error.ctx.get_help() + "\n", raw=True, exit_code=ExitCode.USAGE)
    except click.ClickException as error:
        return failure(_usage(error), invocation.texts)
    except (click.Abort, KeyboardInterrupt):
        return failure(Interrupted("interrupted before anything was changed"), {})
    except OSError as error:
        return failure(_system(error), invocation.texts)
    except Exception as error:
        # a defect of ours: it gets a code and a hint, and no traceback reaches a user
        if os.environ.get("DAMONPOLICY_DEBUG"):
            raise
        return failure(defect(error), invocation.texts)
    return given if isinstance(given, Result) else Result(raw=True)


def _early_format(words: list[str]) -> str:
    """Return the format before click has parsed it, so that click's errors have it too."""
    found = "--format=json" in words or ("--format", "json") in itertools.pairwise(words)
    return "json" if found else "text"


def _usage(error: click.ClickException) -> UsageError:
    text = error.format_message().rstrip(".")
    text = text.replace("is not a valid integer range", "is no number")
    text = text.replace("is not a valid integer", "is no number")
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"`{error.ctx.command_path} --help` shows more"
    if isinstance(error, click.NoSuchOption):
        text = f"no such option '{error.option_name}'"
        hint = _INSTEAD.get(error.option_name) or _near(error) or hint
    lowered = text[:1].lower() + text[1:]
    return UsageError(lowered.replace("'", "`"), hint=hint)


def _near(error: click.NoSuchOption) -> str:
    """Return a hint that names a similar option, ignoring dashes."""
    from difflib import get_close_matches

    words = {each.lstrip("-"): each for each in error.possibilities or ()}
    close = get_close_matches(error.option_name.lstrip("-"), words, n=1, cutoff=0.7)
    guess = words[close[0]] if close else _NEVER_GUESSED[0]
    return "" if guess in _NEVER_GUESSED else f"did you mean `{guess}`?"


def _system(error: OSError) -> DamonPolicyError:
    from damonpolicy.kernel.system.machine import FORBID

    if FORBID in str(error):
        from damonpolicy.base.errors import NoPermission
        from damonpolicy.kernel.damon.features import NEWEST

        hint = f"unset it, or take an emulated machine: `--kernel emulated:{NEWEST}`"
        return NoPermission(f"`{error.filename}`: {error.strerror}", hint=hint)
    return system_error(error)
