"""Compiled policies of earlier calls, kept in the user's cache directory.

What compiling gives depends on the texts and options (`Given`), the kernel's capabilities, our own
code and its libraries, and what the machine answers. All but the last are the name of an entry; the
entry lists what the machine was asked, with a digest of the answers, and that is asked again. Only
if all of it is as before is the entry taken. Then neither YAML nor pydantic are imported.

Errors are never kept. An entry that cannot be read, trusted or written counts as none, silently.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from damonpolicy import __version__
from damonpolicy.base import trust, typed
from damonpolicy.base.atomic import whole_file
from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.recursion import deep
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.settings import allowed
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import agree
from damonpolicy.policy.compile.loading import Compiled, Given, compile_given

if TYPE_CHECKING:
    from damonpolicy.policy.compile.policies import Spans

__all__ = ("OFF", "recalled")

OFF = "DAMONPOLICY_NO_CACHE"
"""The variable that switches the cache off."""

_ENTRIES, _SIZE, _READS = 32, 2 << 20, 4096
"""The most entries, bytes of one, and questions to the machine in one."""

_DOUBTS = (OSError, ValueError, KeyError, TypeError, RecursionError, DamonPolicyError)
"""What reading or writing an entry may raise, which then counts as none."""

_NAME = r"\.?[0-9a-f]{64}\.json(\.\d+\.part)?"
_ASKED = ("exists", "identity", "mode", "read", "read_bytes", "resolve", "scan")
_VOLATILE = r"/proc(/\d.*)?\Z"
_STEADY = {
    "/proc/meminfo": r"^(?:Mem|Swap)Total:.*\n",
    "/proc/pressure/memory": r"^some ",
    "/proc/zoneinfo": r"^Node.*\n|^ +(?:spanned|start_pfn:) .*\n",
}
"""Files that change all the time, and what stays in them, which is all that policies see."""


class _Asked:
    """A machine that notes what it is asked, and its answers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.name, self.here, self.writable = machine.name, machine.here, machine.writable
        self.answers: dict[tuple[str, str], object] = {}
        self.steady = True
        """Whether asking again can give the same answers."""

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation in _ASKED:
            return partial(self._ask, operation)
        self.steady = False
        return cast("Callable[..., Any]", getattr(self._machine, operation))

    def _ask(self, operation: str, path: str) -> Any:
        try:
            answer = getattr(self._machine, operation)(path)
        except OSError as error:
            self._note(operation, path, error.errno)
            raise
        if operation == "read" and path in _STEADY:
            answer = "".join(re.findall(_STEADY[path], answer, re.MULTILINE))
        self._note(operation, path, answer)
        return answer

    def _note(self, operation: str, path: str, answer: object) -> None:
        self.steady &= self.answers.setdefault((operation, path), answer) == answer
        self.steady &= len(self.answers) <= _READS and not re.match(_VOLATILE, path)

    def again(self, questions: Iterable[tuple[str, str]]) -> str:
        """Ask what was asked before; return the digest of the answers."""
        for operation, path in questions:
            if operation not in _ASKED:
                raise ValueError("this is no question")
            with suppress(OSError):
                self._ask(operation, path)
        return self.digest

    @property
    def digest(self) -> str:
        """A digest of all answers."""
        return _digest(list(self.answers.items()))


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of `Compiled`, without texts; what the machine was asked, and its answers."""

    asked: tuple[tuple[str, str], ...]
    answers: str
    policies: Mapping[str, CompiledPolicy]
    found: tuple[Diagnostic, ...]
    spans: tuple[tuple[str, str, Span], ...]
    files: Mapping[str, str]
    names: tuple[str, ...]
    read: int

    def compiled(self, given: Given) -> Compiled:
        """Return what was compiled, with the texts of the policies."""
        texts = {each.name: each.text for each in given.files}
        agree(self.policies)
        policies = {
            name: replace(each, source=texts[self.files[name]])
            for name, each in self.policies.items()
        }
        spans: Spans = {(name, part): span for name, part, span in self.spans}
        return Compiled(policies, list(self.found), spans, files=self.files, names=self.names,
                        read=self.read)  # fmt: skip


def recalled(
    given: Given,
    machine: Machine | None,
    capabilities: Capabilities | None,
    *,
    owner: str = "hand",
    unfed: bool = False,
    served: bool = False,
) -> Compiled:
    """Do what `compile_given` does, or return what it gave before, if nothing has changed."""
    make = partial(compile_given, given, owner=owner, unfed=unfed, served=served)
    can = None if capabilities is None else capabilities.digest  # compiling asks for no sources
    path = _path(given, machine, (can, owner, unfed, served))
    if path is None:
        return make(machine, capabilities)
    known = _read(path, given, machine)
    if known is not None:
        return known
    asked = None if machine is None else _Asked(machine)
    made = make(cast("Machine | None", asked), capabilities)
    if (asked and not asked.steady) or any(each.severity == "error" for each in made.found):
        return made
    _keep(path, given, made, asked)
    return replace(made, anew=True)


def _path(given: Given, machine: Machine | None, options: object) -> Path | None:
    """Return the file of the entry for what does not depend on the machine's answers."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.environ.get(OFF) or given.found or not os.path.isabs(home):
        return None
    try:
        code = sorted(_files(os.path.dirname(sys.modules["damonpolicy"].__file__ or "")))
        libraries = [_library(name) for name in ("jinja2", "pydantic", "pydantic_core", "yaml")]
        place = None if machine is None else (machine.name, allowed(machine))
    except (OSError, DamonPolicyError):  # compiling tells it
        return None
    parts = (__version__, sys.version, code, libraries, given, place, options)
    return Path(home, "damonpolicy", f"{_digest(parts)}.json")


def _files(directory: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield the files of the package, and what changes with their content."""
    with os.scandir(directory) as entries:
        for each in entries:
            if not each.is_dir():
                status = each.stat()
                yield each.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            elif each.name != "__pycache__":
                yield from _files(each.path)


def _library(name: str) -> tuple[str, int, int] | None:
    found = PathFinder.find_spec(name)
    if found is None or found.origin is None:
        return None
    status = os.stat(found.origin)
    return found.origin, status.st_size, status.st_ctime_ns


def _digest(value: object) -> str:
    return sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()


def _read(path: Path, given: Given, machine: Machine | None) -> Compiled | None:
    """Return what an entry holds, if there is a good one and the machine answers as then."""
    try:
        if trust.why_untrusted(path.parent, _keepers()):
            return None
        with os.fdopen(trust.open_own(path), "rb") as stream:
            digest, _, text = stream.read(_SIZE + 1).partition(b"\n")
        if digest.decode("ascii") != _digest((path.stem, text)):
            return None
        with deep():
            entry = typed.record(_Entry, json.loads(text))
        if machine is None or _Asked(machine).again(entry.asked) == entry.answers:
            return entry.compiled(given)
    except _DOUBTS:
        pass
    return None


def _keepers() -> trust.Keepers:
    """Return who may be able to change the directories above: for root, no other user."""
    return trust.Keepers(trust.root_and_we().owners, group=os.geteuid() != 0)


def _keep(path: Path, given: Given, made: Compiled, asked: _Asked | None) -> None:
    """Write an entry, if it can be read back as it was, and remove the oldest ones."""
    spans = {key: each if isinstance(each, Span) else each.spot for key, each in made.spans.items()}
    entry = _Entry(
        tuple(asked.answers) if asked else (), asked.digest if asked else "",
        {name: replace(each, source="") for name, each in made.policies.items()},
        tuple(made.found), tuple((*key, span) for key, span in spans.items()), made.files,
        made.names, made.read,
    )  # fmt: skip
    try:
        text = json.dumps(asdict(entry)).encode()
        again = typed.record(_Entry, json.loads(text)).compiled(given)
        if len(text) > _SIZE - 80 or again != replace(made, spans={**spans}):
            return
        if trust.why_untrusted(path.parent, _keepers()):
            return
        trust.make_private_directory(path.parent)
        with whole_file(str(path), durable=False) as stream:
            stream.write(_digest((path.stem, text)).encode() + b"\n" + text)
        _forget_oldest(path.parent)
    except _DOUBTS:
        return


def _forget_oldest(directory: Path) -> None:
    """Remove the oldest entries, and files that killed processes left."""
    ours = [each for each in directory.iterdir() if re.fullmatch(_NAME, each.name)]
    for each in sorted(ours, key=lambda path: path.lstat().st_mtime_ns)[:-_ENTRIES]:
        each.unlink(missing_ok=True)
