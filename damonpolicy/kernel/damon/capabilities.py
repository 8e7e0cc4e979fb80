"""Detection of the kernel's features: yes, no or unknown, each with its source.

Detection writes nothing. It has three sources, in order: visible files in the tree, whoever made
them; names in the kernel's BTF; and, for features that stay unknown, the transaction itself, which
stages them first and undoes them if the kernel refuses. BTF gives a no for a word only if it has
another word of the same file: names in a development tree change, and a renamed word is not
missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.btf import damon_names
from damonpolicy.kernel.damon.features import EMULATED, FEATURES, Feature, by_file, siblings
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.tree import Tree, digest, snapshot
from damonpolicy.kernel.system.machine import LiveMachine, Machine

__all__ = ("Answer", "Capabilities", "Known", "detect")

_BTF = "/sys/kernel/btf/vmlinux"
_STRUCTS = sorted({name for each in FEATURES for name, dot, _ in [each.btf.partition(".")] if dot})

Known = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a feature exists, and the source of the answer."""

    known: Known
    source: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Answers for every feature of the table."""

    answers: Mapping[str, Answer]

    def __iter__(self) -> Iterator[Feature]:
        return iter(FEATURES)

    def known(self, name: str) -> Known:
        """Return yes, no or unknown."""
        return self.answers[name].known

    def has(self, name: str) -> bool:
        """Return whether a feature may be used: it exists, or is worth a try."""
        return self.known(name) != "no"

    def without(self, name: str) -> Capabilities:
        """Return the same answers, with one feature refused by the kernel."""
        return Capabilities({**self.answers, name: Answer("no", "refused when it was tried")})

    def learned(self, machine: Machine) -> Capabilities:
        """Return the same answers, with unknown ones replaced by what is visible now."""
        try:
            seen = detect(machine, snapshot(machine)).answers
        except OSError:
            return self
        return Capabilities(
            {
                name: seen[name] if answer.known == "unknown" else answer
                for name, answer in self.answers.items()
            }
        )

    @property
    def digest(self) -> str:
        """A checksum of all answers, for saved plans."""
        return digest({name: answer.known for name, answer in self.answers.items()})

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``features --format json``."""
        return {
            feature.name: {
                "known": self.answers[feature.name].known,
                "source": self.answers[feature.name].source,
                "since": feature.since,
                "commit": feature.commit or None,
                "what": feature.what,
            }
            for feature in FEATURES
        }


def detect(machine: Machine, tree: Tree) -> Capabilities:
    """Detect the kernel's features, by reading only."""
    patterns = {pattern(path) for path in tree}
    directories = {parent for path in patterns for parent in _parents(path)}
    names = _btf_names(machine)
    answers = {}
    for feature in FEATURES:
        if feature.files and feature.files[0].startswith("/"):
            visible: Known | None = "yes" if machine.exists(feature.files[0]) else "no"
        else:
            visible = _visible(feature, patterns, directories)
        if visible:
            answers[feature.name] = Answer(visible, "file")
        elif names is not None and (feature.btf or EMULATED in names):
            answers[feature.name] = Answer("yes" if feature.symbol in names else "no", "btf")
        else:
            answers[feature.name] = Answer("unknown", "not visible")
    for feature in FEATURES:
        if names is not None and answers[feature.name] == _UNNAMED:
            if _renamed(feature, names, answers):
                answers[feature.name] = Answer("unknown", "not visible")
    return Capabilities(answers)


_UNNAMED = Answer("no", "btf")


def _renamed(feature: Feature, names: frozenset[str], answers: Mapping[str, Answer]) -> bool:
    """Return whether a word's file exists, but its words have unknown names."""
    kin = siblings(feature)
    if not feature.words or feature.btf not in kin or kin & names:
        return False
    brought = (by_file(where) for where, _ in feature.words)
    return any(each is None or answers[each.name].known != "no" for each in brought)


def _visible(feature: Feature, patterns: set[str], directories: set[str]) -> Known | None:
    """Answer from the tree, if the directory for a file of the feature is visible.

    If the nearest existing directory lacks a *named* child, the kernel has none; numbered children
    may be missing because nobody made them, which proves nothing.
    """
    for path in feature.files:
        if path in patterns:
            return "yes"
        child = path
        while child:
            parent, _, name = child.rpartition("/")
            if parent in directories:
                if name != "*":
                    return "no"
                break
            child = parent
    return None


def _parents(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _btf_names(machine: Machine) -> frozenset[str] | None:
    return _running() if machine.here else _read_names(machine)


@cache
def _running() -> frozenset[str] | None:
    """Return the names of the running kernel, cached, as they are spread over 6 MB."""
    return _read_names(LiveMachine())


def _read_names(machine: Machine) -> frozenset[str] | None:
    try:
        return damon_names(machine.read_bytes(_BTF), _STRUCTS)
    except (OSError, ValueError):
        return None
