"""Expansion of a file's nodes: variables, ``for_each``, templates.

Everything here works on nodes, before types: a template can change a scalar's text, and
``for_each`` repeats a list item, but nothing else can change the structure.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.base.lazy import dataclass
from damonpolicy.policy.source import nodes
from damonpolicy.policy.source.nodes import Hole, Lost, Node, Scalar, Sequence
from damonpolicy.policy.source.template import SHELL, TemplateError, Templates, holds_template

__all__ = ("VARIABLE", "Expanded", "Given", "expand", "unused", "variables")

VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
"""The names that variables may have."""

_REPEATED = ("kdamonds", "schemes")
_ANY = ""
"""A placeholder for invalid variables, whatever their names."""
_UNREADABLE = (_ANY, [Hole.WRONG])
"""The choices of a wrong `for_each`: only values that use its variable are lost."""
_WORD = r"\w+"


@dataclass(frozen=True, slots=True)
class Expanded:
    """A document without templates; values lost to an error are `nodes.Lost`."""

    top: nodes.Mapping
    found: list[Diagnostic]
    given_up: bool = False
    """Whether it was too large to process completely: ``top`` is the unexpanded document."""


class _TooMany(Exception):
    """Raised for too many repetitions, or too many errors."""


class Given(int):
    """A number from the machine, whose name a policy may redefine."""


def variables(
    top: nodes.Mapping,
    overrides: Mapping[str, str],
    templates: Templates | None = None,
    given: Mapping[str, Given] = MappingProxyType({}),
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Return a policy's variables: its own in order, each able to use those before it.

    ``overrides`` come from files and options and win; ``templates`` are those of the policy.
    ``given`` are predefined, unless the policy defines them.
    """
    templates = templates or Templates()
    found: list[Diagnostic] = []
    values: dict[str, Any] = dict(given)
    node = top.get("vars")
    if node is None or isinstance(node, Lost):
        return values, found
    if not isinstance(node, nodes.Mapping):
        hint = "write `vars: {name: value}`"
        return values, [node.span.error("DP0103", "`vars` takes a mapping", hint)]
    if len(node.items) > limits.KEYS.most:
        return {_ANY: Hole.WRONG}, [_too_many_keys(node)]
    names = {key.text for key, _ in node.items}
    for key, value in node.items:
        if not re.fullmatch(VARIABLE, key.text):
            message = f"`{key.text[:40]}` cannot be the name of a variable"
            hint = "letters, digits and `_`, no digit first"
            meant = re.sub(r"[^A-Za-z0-9_]+", "_", key.text[:40])
            if re.fullmatch(VARIABLE, meant) and meant not in names:
                hint = f"write `{meant}`: {hint}"
            found.append(key.span.error("DP0030", message, hint))
        if key.text in overrides:
            values[key.text] = overrides[key.text]
        elif isinstance(value, Scalar):
            try:
                made = _rendered(value, values, templates)
                values[key.text] = made.text if isinstance(made, Scalar) else Hole.WRONG
            except TemplateError as error:
                if len(found) >= limits.FINDINGS.most:
                    message = "more variables are wrong: reading them stops here"
                    found.append(value.span.error("DP0035", message))
                    return {**values, _ANY: Hole.WRONG}, found
                later = error.unknown if error.unknown in names else ""
                hint = f"define `{later}` above it" if later else error.hint
                found.append(value.span.error(error.code, error.message, hint))
                values[key.text] = Hole.WRONG
        else:
            values[key.text] = Hole.WRONG
            if not isinstance(value, Lost):
                message = f"the variable `{key.text[:40]}` is not a single value"
                hint = "lists and mappings cannot come from variables"
                found.append(value.span.error("DP0025", message, hint))
    return values, found


def _too_many_keys(node: nodes.Mapping, hint: str = "") -> Diagnostic:
    message = f"a mapping has at most {limits.KEYS.most:,} keys"
    return node.span.error(limits.KEYS.code, message, hint)


def unused(top: nodes.Mapping, errors: Iterable[Diagnostic] = ()) -> Iterator[Diagnostic]:
    """Yield a policy's variables that none of its templates uses.

    Where a shell's form of a template, such as `$name`, is an error, its variable counts as used.
    """
    node = top.get("vars")
    if not isinstance(node, nodes.Mapping):
        return
    wrong = {each.span for each in errors}
    named: set[str] = set()
    for each in nodes.walk(top):
        shell = re.fullmatch(SHELL, each.text) if each.span in wrong else None
        if shell or holds_template(each.text):
            named.update(re.findall(_WORD, each.text))
    for key, _ in node.items:
        if key.text not in named:
            message = f"no template uses the variable `{key.text[:40]}`"
            hint = f'write `"{{{{ {key.text[:40]} }}}}"` where it belongs, or remove it'
            yield key.span.warning("DP0686", message, hint)


def expand(
    top: nodes.Mapping,
    values: Mapping[str, Any],
    online: tuple[int, ...],
    templates: Templates | None = None,
) -> Expanded:
    """Repeat items and render templates; ``online`` are the nodes of ``for_each: {node: all}``."""
    work = _Expansion(online, templates or Templates())
    if len(top.items) > limits.KEYS.most:
        return Expanded(top, [_too_many_keys(top)], given_up=True)
    try:
        kept = [
            (key, work.node(value, values, key.text))
            for key, value in top.items
            if key.text != "vars"
        ]
        made = nodes.Mapping(tuple(kept), top.span)
        work.count(made)
    except _TooMany:
        return Expanded(top, work.found, given_up=True)
    return Expanded(made, work.found)


class _Expansion:
    """The expansion of one document: what was found, and how much was made, so far."""

    def __init__(self, online: tuple[int, ...], templates: Templates) -> None:
        self.online = online
        self.templates = templates
        self.found: list[Diagnostic] = []
        self._repeating: Node | None = None
        """The last `for_each`."""
        self._made = 0
        """The number of values, including repeated ones."""

    def error(self, node: Node, code: str, message: str, hint: str = "") -> Lost:
        """Add an error; return the placeholder for the value."""
        self.found.append(node.span.error(code, message, hint))
        return Lost(node.span)

    def count(self, top: nodes.Mapping) -> None:
        """Refuse more kdamonds and schemes than a policy may have."""
        kdamonds = top.get("kdamonds")
        schemes = 0
        for number, kdamond in enumerate(kdamonds.items if isinstance(kdamonds, Sequence) else ()):
            own = kdamond.get("schemes") if isinstance(kdamond, nodes.Mapping) else None
            schemes += len(own.items) if isinstance(own, Sequence) else 0
            for limit, count, kind in (
                (limits.KDAMONDS, number + 1, "kdamonds"),
                (limits.SCHEMES, schemes, "schemes"),
            ):
                if count > limit.most:
                    message = f"a policy has at most {limit.most} {kind}"
                    self.error(kdamond, limit.code, message, "split the policy")
                    raise _TooMany

    def node(self, node: Node, values: Mapping[str, Any], key: str = "") -> Node:
        """Render one node, which is the value of a key or an item of a list."""
        self._made += 1
        if self._made > limits.EXPANDED.most:
            message = f"`for_each` makes more than {limits.EXPANDED.most:,} values of this policy"
            self.error(self._repeating or node, limits.EXPANDED.code, message, "split the policy")
            raise _TooMany
        match node:
            case Lost():
                return node
            case Scalar():
                try:
                    return _rendered(node, values, self.templates)
                except TemplateError as error:
                    return self._failed(node, error)
            case Sequence():
                items = [
                    self.node(copy, scope)
                    for item in node.items
                    for copy, scope in self._copies(item, values, key)
                ]
                if len(items) > limits.ITEMS.most:
                    message = f"a list has at most {limits.ITEMS.most:,} items"
                    return self.error(node, limits.ITEMS.code, message, "split the policy")
                return Sequence(tuple(items), node.span)
            case nodes.Mapping():
                pairs = [(name, self.node(value, values, name.text)) for name, value in node.items]
                if len(pairs) > limits.KEYS.most:
                    self.found.append(_too_many_keys(node, "split the policy"))
                    return Lost(node.span)
                return nodes.Mapping(tuple(pairs), node.span)

    def _failed(self, node: Node, error: TemplateError) -> Lost:
        if len(self.found) >= limits.FINDINGS.most:
            self.error(node, "DP0035", "more templates are wrong: reading them stops here")
            raise _TooMany
        lost = self.error(node, error.code, error.message, error.hint)
        if error.code == limits.TEMPLATES.code:
            raise _TooMany
        return lost

    def _copies(
        self, item: Node, values: Mapping[str, Any], key: str
    ) -> Iterator[tuple[Node, Mapping[str, Any]]]:
        """Yield a list item once for each value of its ``for_each``, or once."""
        each = item.get("for_each") if isinstance(item, nodes.Mapping) else None
        if each is None or key not in _REPEATED or not isinstance(item, nodes.Mapping):
            yield item, values
            return
        self._repeating = each
        body = item.without("for_each")
        name, options = self._choices(each, values)
        for option in options:
            yield body, ChainMap({name: option}, values)  # type: ignore[arg-type]  # only read

    def _choices(self, each: Node, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Return the variable of a ``for_each``, and its values."""
        example = "write `for_each: {node: all}` or `for_each: {name: [a, b]}`"
        if isinstance(each, Lost):
            return _UNREADABLE
        if not isinstance(each, nodes.Mapping) or len(each.items) != 1:
            return self._refuse(each, "`for_each` takes one name and its values", example)
        name, listed = each.items[0]
        if isinstance(listed, Lost):
            return _UNREADABLE
        if not re.fullmatch(VARIABLE, name.text):
            return self._refuse(name, f"`{name.text}` cannot be the name of a variable", example)
        if name.text in values and not isinstance(values[name.text], Given):
            message = f"`{name.text}` is already the name of a variable"
            return self._refuse(name, message, "choose another name")
        if isinstance(listed, Scalar):
            if listed.text == "all" and name.text == "node":
                return name.text, [str(node) for node in self.online]
            hint = did_you_mean(listed.text, ["all"]) if name.text == "node" else example
            return self._refuse(listed, "`for_each` needs a list of values", hint)
        if isinstance(listed, nodes.Mapping) or not listed.items:
            return self._refuse(listed, "`for_each` needs a list with at least one value", example)
        if len(listed.items) > limits.COPIES.most:
            return self._refuse(listed, f"`for_each` repeats more than {limits.COPIES.most} times")
        return name.text, [nodes.plain(self.node(each, values))[0] for each in listed.items]

    def _refuse(self, node: Node, message: str, hint: str = "") -> tuple[str, list[Any]]:
        self.error(node, "DP0030", message, hint)
        return _UNREADABLE


def _rendered(scalar: Scalar, values: Mapping[str, Any], templates: Templates) -> Scalar | Lost:
    """Render a scalar; one that uses a variable without a value is lost with it."""
    if holds_template(scalar.text) and len(scalar.text) <= limits.TEMPLATE.most:
        if any(values.get(word) is Hole.WRONG for word in re.findall(_WORD, scalar.text)):
            return Lost(scalar.span)
    try:
        return templates.render(scalar, values)
    except TemplateError as error:
        if error.unknown and values.get(_ANY) is Hole.WRONG:
            return Lost(scalar.span)
        raise
