"""Mapping of errors in an imported policy to their places in the user's file.

A place in the printed policy is a path of keys; the table of words gives the kernel's file for it;
the reader of the user's file recorded the place of each kernel file's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.words import WORDS
from damonpolicy.policy.source.files import SourceFile
from damonpolicy.policy.source.nodes import Path, plain
from damonpolicy.policy.source.yaml import parse

__all__ = ("Source", "relocated")

_SCOPES = {
    "schemes": "contexts/*/schemes/*",
    "probes": "contexts/*/monitoring_attrs/probes/*",
}
"""Lists with named items: words begin below them."""
_VERBS = ("allow", "reject", "not")
_WHOLE = {"targets": "contexts/*/targets/*", "accesses": "contexts/*/monitoring_attrs/sample"}
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
    paths: dict[Span, Path] = {}
    for known in (places.values, places.keys):
        for path, span in known.items():
            if len(path) >= len(paths.get(span, ())):
                paths[span] = path

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
    scope = _SCOPES.get(words[0], "") if words and numbers else ""
    below = ".".join(words[1:] if words and words[0] == "schemes" else words)
    if "filters" in words and len(numbers) > 1:
        directory = _filter(source.tree, scope, numbers)
        inside = [each for each in words[words.index("filters") :] if each not in _VERBS]
        name = ".".join(inside)
        file = next((each.kernel for each in WORDS if each.ours == name), "")
        return source.place(f"{directory}/{file.rpartition('/')[2]}")
    while below:
        for word in WORDS:
            same = word.ours == below or word.ours.startswith(f"{below}.")
            if same and word.kernel.startswith(scope):
                return source.place(_filled(word.kernel, numbers, exact=word.ours == below))
        below = below.rpartition(".")[0]
    whole = _WHOLE.get(words[0], scope) if words else ""
    return source.place(_filled(whole, numbers, exact=True))


def _filled(pattern: str, numbers: Sequence[int], *, exact: bool) -> str:
    """Put numbers into a pattern; a pattern for several files gives their directory."""
    left = [0, *numbers]
    parts = []
    for part in pattern.split("/"):
        if part == "*" and not left:
            break
        parts.append(str(left.pop(0)) if part == "*" else part)
    return "/".join(parts if exact else parts[:-1])


def _filter(tree: Tree, scope: str, numbers: Sequence[int]) -> str:
    """Return the directory of a filter by its number in the policy's one list."""
    base, index = _filled(scope, numbers, exact=True), numbers[1]
    for directory in ("core_filters", "ops_filters", "filters"):
        count = int(tree.get(f"{base}/{directory}/nr_filters", "0"))
        if index < count:
            return f"{base}/{directory}/{index}"
        index -= count
    return base
