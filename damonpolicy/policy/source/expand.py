"""Expansion of a file's nodes: variables, ``for_each``, templates.

Everything here works on nodes, before types: a template can change a scalar's text, and
``for_each`` repeats a list item, but nothing else can change the structure.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.base.lazy import dataclass
from damonpolicy.policy.source import nodes
from damonpolicy.policy.source.nodes import Hole, Lost, Node, Scalar, Sequence
from damonpolicy.policy.source.template import TemplateError, Templates, holds_template

__all__ = ("VARIABLE", "Expanded", "Given", "expand", "unused", "variables")

VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
"""The names that variables may have."""

_REPEATED = ("kdamonds", "schemes")
_ANY = ""
"""A placeholder for invalid variables, whatever their names."""
_WORD = r"\w+"
_WRITTEN = re.compile(rf"\{{\{{ ({VARIABLE}) \}}\}}")


@dataclass
class Expanded:
    """A document without templates; values lost to an error are `nodes.Lost`."""

    top: nodes.Mapping
    found: list[Diagnostic] = field(default_factory=list)
    templates: Templates = field(default_factory=Templates)
    given_up: bool = False
    """Whether it was too large to process completely: ``top`` is the unexpanded document."""
    repeating: Node | None = None
    """The last `for_each` so far."""
    made: int = 0
    """The number of values, including repeated ones."""

    def error(self, node: Node, code: str, message: str, hint: str = "") -> Lost:
        """Add an error; return the placeholder for the value."""
        self.found.append(Diagnostic.error(code, node.span, message, hint=hint))
        return Lost(node.span)


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
    if not isinstance(node, nodes.Mapping):
        if node is not None and not isinstance(node, Lost):
            message = "`vars` takes a mapping"
            hint = "write `vars: {name: value}`"
            found.append(Diagnostic.error("DP0103", node.span, message, hint=hint))
        return values, found
    if len(node.items) > limits.KEYS.most:
        message = f"a mapping has at most {limits.KEYS.most:,} keys"
        found.append(Diagnostic.error(limits.KEYS.code, node.span, message))
        return {_ANY: Hole.WRONG}, found
    names = {key.text for key, _ in node.items}
    for key, value in node.items:
        if not re.fullmatch(VARIABLE, key.text):
            message = f"`{key.text[:40]}` cannot be the name of a variable"
            hint = "letters, digits and `_`, no digit first"
            meant = re.sub(r"[^A-Za-z0-9_]+", "_", key.text[:40])
            if re.fullmatch(VARIABLE, meant) and meant not in names:
                hint = f"write `{meant}`: {hint}"
            found.append(Diagnostic.error("DP0030", key.span, message, hint=hint))
        if key.text in overrides:
            values[key.text] = overrides[key.text]
        elif isinstance(value, Scalar):
            try:
                made = _rendered(value, values, templates)
                values[key.text] = made.text if isinstance(made, Scalar) else Hole.WRONG
            except TemplateError as error:
                if len(found) >= limits.TOLD.most:
                    message = "more variables are wrong: reading them stops here"
                    found.append(Diagnostic.error("DP0035", value.span, message))
                    return {**values, _ANY: Hole.WRONG}, found
                later = error.unknown if error.unknown in names else ""
                hint = f"define `{later}` above it" if later else error.hint
                found.append(Diagnostic.error(error.code, value.span, error.message, hint=hint))
                values[key.text] = Hole.WRONG
        elif isinstance(value, Lost):
            values[key.text] = Hole.WRONG
        else:
            message = f"the variable `{key.text[:40]}` is not a single value"
            hint = "lists and mappings cannot come from variables"
            found.append(Diagnostic.error("DP0025", value.span, message, hint=hint))
            values[key.text] = Hole.WRONG
    return values, found


def unused(top: nodes.Mapping, errors: Iterable[Diagnostic] = ()) -> Iterator[Diagnostic]:
    """Yield a policy's variables that none of its templates uses.

    If the hint of an error proposes a template, its variable counts as used.
    """
    node = top.get("vars")
    if not isinstance(node, nodes.Mapping):
        return
    named = {word for text in _templates(top) for word in re.findall(_WORD, text)}
    named |= {word for each in errors for word in _WRITTEN.findall(each.hint)}
    for key, _ in node.items:
        if key.text not in named:
            message = f"no template uses the variable `{key.text[:40]}`"
            hint = f'write `"{{{{ {key.text[:40]} }}}}"` where it belongs, or remove it'
            yield Diagnostic.warning("DP0686", key.span, message, hint=hint)


def _templates(node: Node) -> Iterator[str]:
    match node:
        case Scalar() if holds_template(node.text):
            yield node.text
        case Sequence():
            for each in node.items:
                yield from _templates(each)
        case nodes.Mapping():
            for _, value in node.items:
                yield from _templates(value)


def expand(
    top: nodes.Mapping,
    values: Mapping[str, Any],
    online: tuple[int, ...],
    templates: Templates | None = None,
) -> Expanded:
    """Repeat items and render templates; ``online`` are the nodes of ``for_each: {node: all}``."""
    result = Expanded(top, templates=templates or Templates())
    if len(top.items) > limits.KEYS.most:
        message = f"a mapping has at most {limits.KEYS.most:,} keys"
        result.error(top, limits.KEYS.code, message)
        result.given_up = True
        return result
    try:
        kept = [
            (key, made)
            for key, value in top.items
            if key.text != "vars"
            for made in (_node(value, values, online, result, key.text),)
        ]
        result.top = nodes.Mapping(tuple(kept), top.span)
        _count(result.top, result)
    except _TooMany:
        result.given_up = True
    return result


def _count(top: nodes.Mapping, result: Expanded) -> None:
    """Refuse more kdamonds and schemes than a policy may have."""
    kdamonds = top.get("kdamonds")
    if not isinstance(kdamonds, Sequence):
        return
    schemes = 0
    for number, kdamond in enumerate(kdamonds.items):
        own = kdamond.get("schemes") if isinstance(kdamond, nodes.Mapping) else None
        schemes += len(own.items) if isinstance(own, Sequence) else 0
        for limit, count in ((limits.KDAMONDS, number + 1), (limits.SCHEMES, schemes)):
            if count > limit.most:
                kind = "kdamonds" if limit is limits.KDAMONDS else "schemes"
                message = f"a policy has at most {limit.most} {kind}"
                result.error(kdamond, limit.code, message, "split the policy")
                raise _TooMany


def _failed(result: Expanded, node: Node, error: TemplateError) -> Lost:
    if len(result.found) >= limits.TOLD.most:
        result.error(node, "DP0035", "more templates are wrong: reading them stops here")
        raise _TooMany
    lost = result.error(node, error.code, error.message, error.hint)
    if error.code == limits.TEMPLATES.code:
        raise _TooMany
    return lost


def _node(
    node: Node,
    values: Mapping[str, Any],
    online: tuple[int, ...],
    result: Expanded,
    key: str,
) -> Node:
    """Render one node."""
    result.made += 1
    if result.made > limits.EXPANDED.most:
        message = f"`for_each` makes more than {limits.EXPANDED.most:,} values of this policy"
        result.error(result.repeating or node, limits.EXPANDED.code, message, "split the policy")
        raise _TooMany
    match node:
        case Lost():
            return node
        case Scalar():
            try:
                return _rendered(node, values, result.templates)
            except TemplateError as error:
                return _failed(result, node, error)
        case Sequence():
            items = [
                _node(copy, scope, online, result, "")
                for item in node.items
                for copy, scope in _copies(item, values, online, result, key)
            ]
            if len(items) > limits.ITEMS.most:
                message = f"a list has at most {limits.ITEMS.most:,} items"
                return result.error(node, limits.ITEMS.code, message, "split the policy")
            return Sequence(tuple(items), node.span)
        case nodes.Mapping():
            pairs = [
                (name, _node(value, values, online, result, name.text))
                for name, value in node.items
            ]
            if len(node.items) > limits.KEYS.most:
                message = f"a mapping has at most {limits.KEYS.most:,} keys"
                return result.error(node, limits.KEYS.code, message, "split the policy")
            return nodes.Mapping(tuple(pairs), node.span)


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


def _copies(
    item: Node,
    values: Mapping[str, Any],
    online: tuple[int, ...],
    result: Expanded,
    key: str,
) -> Iterator[tuple[Node, Mapping[str, Any]]]:
    """Yield a list item once for each value of its ``for_each``, or once."""
    each = item.get("for_each") if isinstance(item, nodes.Mapping) else None
    if each is None or key not in _REPEATED or not isinstance(item, nodes.Mapping):
        yield item, values
        return
    result.repeating = each
    body = item.without("for_each")
    choices = _choices(each, values, online, result)
    if choices is None:
        # only values that use its variable are lost
        yield body, ChainMap({_ANY: Hole.WRONG}, values)  # type: ignore[arg-type]  # only read
        return
    name, options = choices
    for option in options:
        yield body, ChainMap({name: option}, values)  # type: ignore[arg-type]  # only read


def _choices(
    each: Node, values: Mapping[str, Any], online: tuple[int, ...], result: Expanded
) -> tuple[str, list[Any]] | None:
    def refuse(node: Node | Scalar, message: str, hint: str = "") -> None:
        result.found.append(Diagnostic.error("DP0030", node.span, message, hint=hint))

    example = "write `for_each: {node: all}` or `for_each: {name: [a, b]}`"
    if isinstance(each, Lost):
        return None
    if not isinstance(each, nodes.Mapping) or len(each.items) != 1:
        refuse(each, "`for_each` takes one name and its values", example)
        return None
    name, listed = each.items[0]
    if isinstance(listed, Lost):
        return None
    if not re.fullmatch(VARIABLE, name.text):
        refuse(name, f"`{name.text}` cannot be the name of a variable", example)
        return None
    if name.text in values and not isinstance(values[name.text], Given):
        refuse(name, f"`{name.text}` is already the name of a variable", "choose another name")
        return None
    if isinstance(listed, Scalar):
        if listed.text == "all" and name.text == "node":
            return name.text, [str(node) for node in online]
        hint = did_you_mean(listed.text, ["all"]) if name.text == "node" else example
        refuse(listed, "`for_each` needs a list of values", hint)
        return None
    if isinstance(listed, nodes.Mapping) or not listed.items:
        refuse(listed, "`for_each` needs a list with at least one value", example)
        return None
    if len(listed.items) > limits.COPIES.most:
        refuse(listed, f"`for_each` repeats more than {limits.COPIES.most} times")
        return None
    options = []
    for option in listed.items:
        options.append(nodes.plain(_node(option, values, online, result, ""))[0])
    return name.text, options
