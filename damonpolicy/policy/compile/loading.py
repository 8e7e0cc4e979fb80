"""Compilation of loaded policies for a kernel, or their refusal with all errors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import DamonPolicyError, KernelLacks, PolicyInvalid
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.state import Managed
from damonpolicy.policy.compile.policies import (
    Loaded,
    Overrides,
    Spans,
    Upkeep,
    compile_policies,
    load,
    place,
    wrong_files,
)
from damonpolicy.policy.source.files import SourceFile

__all__ = ("Compiled", "Source", "compile_on", "locate", "located", "refuse", "spans_of", "wanted")


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
    everything = [each for source in sources for each in source.loaded.found]
    policies: dict[str, CompiledPolicy] = {}
    files: dict[str, str] = {}
    spans: Spans = {}
    for source in sources:
        upkeep = Upkeep(source.owner, unfed=unfed, served=served)
        compiled, found = compile_policies(source.loaded, capabilities, machine, upkeep, spans)
        policies |= compiled
        files |= {
            name: read.cursor("name").value.file
            for read, _ in source.loaded.reads
            if (name := read.policy.known("name")) in compiled
        }
        everything += found
    wrong = wrong_files(everything)
    good = {name: each for name, each in policies.items() if files[name] not in wrong}
    if shared is None or not good or not wrong.isdisjoint(("", *shared)):
        refuse(everything)
    return Compiled(good, everything, spans, frozenset(wrong), files)


def spans_of(
    policies: Mapping[str, CompiledPolicy],
    machine: Machine,
    capabilities: Capabilities,
    texts: dict[str, str],
) -> Spans:
    """Return the places in the sources of already compiled policies; fills ``texts``."""
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
