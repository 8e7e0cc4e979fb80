"""Mapping of errors in an imported policy to their places in the user's file.

A place in the printed policy is a path of keys; the table of words gives the kernel's file for it;
the reader of the user's file recorded the place of each kernel file's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from itertools import chain, islice

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import Directory
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.damon.words import WORDS
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.nodes import Path, plain
from damonpolicy.policy.source.yaml import parse

__all__ = ("Source", "relocated")

_SLOT = Kdamond()
_SCOPES = {"schemes": pattern(_SLOT.schemes[0].path), "probes": pattern(_SLOT.probes[0].path)}
"""Lists with named items: words begin below them."""
_VERBS = ("allow", "reject", "not")
_WHOLE = {"targets": pattern(_SLOT.targets[0].path), "accesses": _SLOT.sample.path}
"""Keys without a file of their own."""


@dataclass(frozen=True, slots=True)
class Source:
    """One kdamond to import: its origin, its name, and the names of its parts."""

    where: str
    name: str
    tree: Tree
    names: Mapping[str, str] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    """The places in the user's file of the tree's files and directories."""
    system_ram: bool = False
    """Whether it is for all memory, whatever the tree has."""

    def place(self, path: str) -> Span | None:
        """Return the place of a file, or of the nearest directory above it."""
        while path and path not in self.spans:
            path = path.rpartition("/")[0]
        return self.spans.get(path)


def relocated(
    found: Sequence[Diagnostic],
    file: SourceFile,
    sources: Sequence[Source],
    said: Mapping[Path, Span],
) -> tuple[Diagnostic, ...]:
    """Return the findings in the policy ``file`` with their places in the files of ``sources``.

    ``said`` are the places of other parts of the policy in the user's file.
    """
    if not said and not any(source.spans for source in sources):
        return tuple(found)
    top, _ = parse(file.name, file.text)
    if top is None:
        return tuple(found)
    _, places = plain(top)
    known = [*places.values.items(), *places.keys.items()]
    paths = {span: path for path, span in sorted(known, key=lambda each: len(each[0]))}

    def there(span: Span) -> Span:
        path = paths.get(span, ())
        while path and path not in said:
            path = path[:-1]
        if path or not sources:
            return said.get(path) or next(iter(said.values()))
        return _place(paths.get(span, ()), sources) or span

    return tuple(
        replace(
            each,
            span=there(each.span) if each.span else None,
            related=tuple((there(span), label) for span, label in each.related),
        )
        for each in found
    )


def _place(path: Path, sources: Sequence[Source]) -> Span | None:
    """Return the place in a user's file for a path of the policy."""
    if len(path) < 2 or path[0] != "kdamonds" or not isinstance(path[1], int):
        return sources[0].place("")
    source, rest = sources[path[1]], path[2:]
    numbers = [each for each in rest if isinstance(each, int)]
    words = [each for each in rest if isinstance(each, str)]
    if "filters" in words and len(numbers) > 1:
        inside = [each for each in words[words.index("filters") :] if each not in _VERBS]
        file = next((each.kernel for each in WORDS if each.ours == ".".join(inside)), "")
        directory = _filter(Kdamond(source.tree), words[0], *numbers[:2])
        return source.place(directory.below(file.rpartition("/")[2]))
    scope = _SCOPES.get(words[0], "") if words and numbers else ""
    below = ".".join(words[1:] if words[:1] == ["schemes"] else words)
    while below:
        for word in WORDS:
            same = word.ours == below or word.ours.startswith(f"{below}.")
            if same and word.kernel.startswith(scope):
                file = _filled(word.kernel, numbers)
                return source.place(file if word.ours == below else file.rpartition("/")[0])
        below = below.rpartition(".")[0]
    whole = _WHOLE.get(words[0], scope) if words else ""
    return source.place(_filled(whole, numbers))


def _filled(path: str, numbers: Sequence[int]) -> str:
    """Put numbers into a pattern; a pattern with more of them gives a directory."""
    first, *parts = path.split("*")
    for each, part in zip((0, *numbers), parts, strict=False):
        first += f"{each}{part}"
    return first.rstrip("/")


def _filter(slot: Kdamond, scope: str, item: int, index: int) -> Directory:
    """Return the directory of a filter by its number in the policy's one list."""
    scheme, probe = slot.schemes[item], slot.probes[item]
    if scope == "probes":
        return next(islice(probe.filters, index, None), probe)
    listed = (scheme.core_filters, scheme.ops_filters, scheme.filters)
    return next(islice(chain(*listed), index, None), scheme)
