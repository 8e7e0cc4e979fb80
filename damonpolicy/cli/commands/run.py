"""``damonpolicy run``."""

from __future__ import annotations

import os
import re
import shlex
import signal

import click

from damonpolicy.base import etc
from damonpolicy.base.diagnostics import closest
from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import read_duration
from damonpolicy.cli import shipped
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.loading import Named, policies
from damonpolicy.cli.options.quantities import quantity
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.lock import SERVICE, exclusive
from damonpolicy.engine.signals import ignored

_PLAIN = r"[A-Za-z0-9_][\w. -]*"
_EXIT = click.Choice(["keep", "remove"])


@subcommand("run")
@click.option(
    "--on-exit", type=_EXIT, default="keep", help="what happens to the policies at the end"
)
@click.option(
    "--debounce", default="500ms", metavar="TIME", help="how long files must stay unchanged"
)
@click.option(
    "--metrics", metavar="ADDRESS:PORT", help="serve metrics for Prometheus on this address"
)
@policies()
def command(
    invocation: Invocation, named: Named, on_exit: str, debounce: str, metrics: str | None
) -> Result:
    """Keep the machine under the policies of files and directories, until it is stopped.

    What changes is validated as a whole, and committed online once the files have come to rest.
    What is invalid changes nothing: the last good policies stay. A PATH has to be there, except
    where a service of this boot took policies from it: it may be on a file system that is not
    mounted, and its policies stay. SIGHUP looks at once, SIGTERM
    ends the service.
    """
    with ignored(signal.SIGHUP):  # the start does what the signal asks for anyway
        from damonpolicy.daemon.app import Wishes, serve
        from damonpolicy.daemon.files import unknown

        if not (invocation.verbosity or invocation.log_format or invocation.quiet):
            from damonpolicy.cli.logs import configure

            configure(verbosity=1, form="text")
        places = invocation.places()
        with exclusive(places.service_lock, wait=False, held=SERVICE):
            if mistyped := unknown(named.paths, places):
                raise UsageError(f"there is no `{mistyped[0][:200]}`", hint=_nearest(mistyped[0]))
            wishes = Wishes(
                variables=named.variables,
                settings=named.settings,
                debounce=quantity(read_duration, debounce, f"--debounce {debounce[:40]}") / 1e6,
                remove=on_exit == "remove",
                metrics=metrics or "",
            )
            changed = serve(invocation.machine(), places, named.paths or etc.POLICIES, wishes)
        return Result(data={"removed": changed}, changed=changed)


def _nearest(path: str) -> str:
    parent, name = os.path.split(path.rstrip("/"))
    try:
        beside = os.listdir(parent or ".")
    except OSError:
        beside = []
    if close := closest(name, beside):
        return f"did you mean `{os.path.join(parent, close)}`?"
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    if stem in shipped.policies():
        return f"`damonpolicy init {stem} -o {shlex.quote(os.path.join(parent, stem))}.yaml`"
    if stem != name or not os.path.isdir(parent or ".") or not re.fullmatch(_PLAIN, name):
        return "`damonpolicy init` lists the shipped policies and writes one"
    return f"`mkdir {shlex.quote(path)}`"
