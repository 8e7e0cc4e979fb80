"""Compilation of loaded policies for a kernel, or their refusal with all errors.

The policy language is imported by the functions that read or compile: what was compiled before
(`cache`) needs none of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.errors import DamonPolicyError, KernelLacks, PolicyInvalid
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import Managed
from damonpolicy.policy.source.files import SourceFile

if TYPE_CHECKING:
    from damonpolicy.policy.compile.policies import Loaded, Spans

__all__ = ("Compiled", "Given", "Source", "compile_given", "compile_on", "locate", "located",
           "place", "refuse", "spans_of", "wanted")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """Policies as they are given to a command: texts, overrides, and findings of reading files."""

    files: tuple[SourceFile, ...]
    variables: tuple[SourceFile, ...] = ()
    settings: tuple[str, ...] = ()
    monitor: bool = False
    found: tuple[Diagnostic, ...] = ()

    def load(self, machine: Machine | None) -> Loaded:
        """Read the policies; their errors are in the result."""
        from damonpolicy.policy.compile.policies import Overrides, load

        overrides, wrong = Overrides.read(self.variables, self.settings)
        overrides = replace(overrides, monitor=self.monitor)
        return load(self.files, overrides, machine=machine, found=[*self.found, *wrong])


@dataclass(frozen=True, slots=True)
class Source:
    """Policies that share overrides, and their owner."""

    loaded: Loaded
    owner: str = "hand"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Policies for one kernel, the findings, and the invalid files, which are left out."""

    policies: dict[str, CompiledPolicy]
    found: list[Diagnostic]
    spans: Spans
    wrong: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)
    """The file of each policy."""
    names: tuple[str, ...] = ()
    """The names of all policies, also of invalid ones."""
    read: int = 0
    """The number of findings, the first ones, that are about the text on any kernel."""
    anew: bool = field(default=False, compare=False)
    """Whether it was not in the `cache`, and was put there."""

    def without(self, error: DamonPolicyError) -> Compiled:
        """Leave out the policies that a planning error is about, or raise it.

        It is raised if something was undone, or if it is about none of them or all that are left.
        """
        errors = (error, *error.also)
        names = {name.partition("/")[0] for each in errors for name, _ in each.about}
        left = {name: each for name, each in self.policies.items() if name not in names}
        if error.undone or len(left) == len(self.policies):
            raise error
        told = error.diagnostics or tuple(
            Diagnostic.error(each.code, None, each.message, hint=each.hint) for each in errors
        )
        if not left:
            error.diagnostics = (*self.found, *told)
            raise error
        wrong = self.wrong | {self.files[name] for name in self.policies.keys() & names}
        return replace(self, policies=left, found=[*self.found, *told], wrong=wrong)


def place(error: DamonPolicyError, spans: Spans) -> Span | None:
    """Return the place of an error's subject."""
    found = next((spans[each] for each in error.about if each in spans), None)
    return found if found is None or isinstance(found, Span) else found.spot


def locate(error: DamonPolicyError, spans: Spans) -> None:
    """Give an error of a plan or its operations its place, which only the source has."""
    told = [
        Diagnostic.error(each.code, span, each.message, hint=each.hint)
        for each in (error, *error.also)
        if (span := place(each, spans))
    ]
    if told:
        error.diagnostics, error.message = tuple(told), ""


@contextmanager
def located(spans: Spans) -> Iterator[None]:
    """Give every error its place."""
    try:
        yield
    except DamonPolicyError as error:
        locate(error, spans)
        raise


def refuse(found: Sequence[Diagnostic]) -> None:
    """Raise if there are errors: KernelLacks if the kernel alone is the reason."""
    if errors := [each for each in found if each.severity == "error"]:
        lacks = all(each.unsupported for each in errors)
        raise (KernelLacks if lacks else PolicyInvalid)(diagnostics=found)


def compile_on(
    sources: Sequence[Source],
    machine: Machine,
    capabilities: Capabilities,
    *,
    unfed: bool = False,
    served: bool = False,
    shared: Collection[str] | None = None,
) -> Compiled:
    """Compile for a machine; raises if any policy is wrong on it.

    ``unfed`` and ``served`` are those of `Upkeep`. With ``shared``, the files that all
    policies depend on, other files that are invalid by themselves, or disagree, are left out,
    unless that would be all.
    """
    made = _compiled(sources, machine, capabilities, unfed=unfed, served=served)
    good = {
        name: each for name, each in made.policies.items() if made.files[name] not in made.wrong
    }
    if shared is None or not good or not made.wrong.isdisjoint(("", *shared)):
        refuse(made.found)
    return replace(made, policies=good)


def compile_given(
    given: Given,
    machine: Machine | None,
    capabilities: Capabilities | None,
    *,
    owner: str = "hand",
    unfed: bool = False,
    served: bool = False,
) -> Compiled:
    """Read and compile, or only read without ``capabilities``; errors are in the result."""
    source = Source(given.load(machine) if machine else _anywhere(given), owner)
    return _compiled([source], machine, capabilities, unfed=unfed, served=served)


@lru_cache(maxsize=1)
def _anywhere(given: Given) -> Loaded:
    """Read policies that are to be compiled for several kernels once."""
    return given.load(None)


def _compiled(
    sources: Sequence[Source],
    machine: Machine | None,
    capabilities: Capabilities | None,
    *,
    unfed: bool,
    served: bool,
) -> Compiled:
    from damonpolicy.policy.compile.policies import Upkeep, compile_policies, wrong_files

    everything = [each for source in sources for each in source.loaded.found]
    read = len(everything)
    policies: dict[str, CompiledPolicy] = {}
    files: dict[str, str] = {}
    names: list[str] = []
    spans: Spans = {}
    for source in sources:
        reads = [(each.policy.known("name"), each.cursor) for each, _ in source.loaded.reads]
        names += [name for name, _ in reads if name]
        if capabilities is None:
            continue
        upkeep = Upkeep(source.owner, unfed=unfed, served=served)
        made, found = compile_policies(source.loaded, capabilities, machine, upkeep, spans)
        policies |= made
        files |= {name: at("name").value.file for name, at in reads if name in made}
        everything += found
    wrong = frozenset(wrong_files(everything))
    return Compiled(policies, everything, spans, wrong, files, tuple(names), read)


def spans_of(
    policies: Mapping[str, CompiledPolicy],
    machine: Machine,
    capabilities: Capabilities,
    texts: dict[str, str],
) -> Spans:
    """Return the places in the sources of already compiled policies; fills ``texts``."""
    from damonpolicy.policy.compile.policies import Overrides, Upkeep, compile_policies, load

    spans: Spans = {}
    for name, policy in policies.items():
        file = SourceFile(f"policy {name}", policy.source)
        overrides = Overrides(policy.variables, monitor=policy.monitored)
        loaded = load([file], overrides, machine=machine)
        upkeep = Upkeep(unfed=True, served=True)
        compile_policies(loaded, capabilities, machine, upkeep, spans)
        texts.update(loaded.texts)
    return spans


def wanted(
    managed: Managed, compiled: Mapping[str, CompiledPolicy], *, without: str = ""
) -> dict[str, CompiledPolicy]:
    """Return the set to manage: the managed policies and the compiled ones.

    Of the policies of the owner ``without``, only the compiled ones stay.
    """
    kept = {name: each for name, each in managed.policies.items() if each.owner != without}
    return {**kept, **compiled}
