"""From the nodes of a file to plain data: variables, ``for_each``, templates.

Everything here works on nodes, before types: a template can change a scalar's text, and
``for_each`` repeats a list item, but nothing else can change the structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from damonpolicy.diagnostics import Diagnostic, did_you_mean
from damonpolicy.source import nodes
from damonpolicy.source.nodes import Hole, Lost, Node, Scalar, Sequence
from damonpolicy.source.template import TemplateError, holds_template, render

__all__ = ("Expanded", "expand", "variables")

_MOST_COPIES = 256
_REPEATED = ("kdamonds", "schemes")
_ANY = ""
"""Stands for the variable of a `for_each` that is wrong, whatever its name was to be."""


@dataclass
class Expanded:
    """A document without templates; what was lost to an error stands in it as `nodes.Lost`."""

    top: nodes.Mapping
    found: list[Diagnostic] = field(default_factory=list)


def variables(
    top: nodes.Mapping, overrides: Mapping[str, str]
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Return a policy's variables: its own in order, each able to use those before it.

    ``overrides`` come from files and options and win.
    """
    found: list[Diagnostic] = []
    values: dict[str, Any] = {}
    node = top.get("vars")
    if not isinstance(node, nodes.Mapping):
        if node is not None and not isinstance(node, Lost):
            message = "`vars` takes a mapping"
            hint = "write `vars: {name: value}`"
            found.append(Diagnostic.error("DP0103", node.span, message, hint=hint))
        return values, found
    names = [key.text for key, _ in node.items]
    for key, value in node.items:
        if not key.text.isidentifier():
            message = f"`{key.text[:40]}` cannot be the name of a variable"
            hint = "letters, digits and `_`, no digit first"
            found.append(Diagnostic.error("DP0030", key.span, message, hint=hint))
        if key.text in overrides:
            values[key.text] = overrides[key.text]
        elif isinstance(value, Scalar):
            try:
                made = _rendered(value, values)
                values[key.text] = made.text if isinstance(made, Scalar) else Hole.WRONG
            except TemplateError as error:
                later = [name for name in names if error.message.startswith(f"`{name}` ")]
                hint = f"define `{later[0]}` above it" if later else error.hint
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


def expand(top: nodes.Mapping, values: Mapping[str, Any], online: tuple[int, ...]) -> Expanded:
    """Repeat and render; ``online`` are the nodes that ``for_each: {node: all}`` means."""
    result = Expanded(top)
    kept = [
        (key, made)
        for key, value in top.items
        if key.text != "vars"
        for made in (_node(value, values, online, result, key.text),)
    ]
    result.top = nodes.Mapping(tuple(kept), top.span)
    return result


def _node(
    node: Node,
    values: Mapping[str, Any],
    online: tuple[int, ...],
    result: Expanded,
    key: str,
) -> Node:
    """Render one node."""
    match node:
        case Lost():
            return node
        case Scalar():
            try:
                return _rendered(node, values)
            except TemplateError as error:
                result.found.append(
                    Diagnostic.error(error.code, node.span, error.message, hint=error.hint)
                )
                return Lost(node.span)
        case Sequence():
            items = [
                _node(copy, scope, online, result, "")
                for item in node.items
                for copy, scope in _copies(item, values, online, result, key)
            ]
            return Sequence(tuple(items), node.span)
        case nodes.Mapping():
            pairs = [
                (name, _node(value, values, online, result, name.text))
                for name, value in node.items
            ]
            return nodes.Mapping(tuple(pairs), node.span)


def _rendered(scalar: Scalar, values: Mapping[str, Any]) -> Scalar | Lost:
    """Render a scalar; one that uses a variable without a value is lost with it."""
    wrong = [name for name, value in values.items() if value is Hole.WRONG]
    if not wrong or not holds_template(scalar.text):
        return render(scalar, values)
    if any(re.search(rf"\b{re.escape(name)}\b", scalar.text) for name in wrong if name != _ANY):
        return Lost(scalar.span)
    try:
        return render(scalar, {name: each for name, each in values.items() if name not in wrong})
    except TemplateError as error:
        if _ANY in wrong and error.code == "DP0021":
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
    body = item.without("for_each")
    choices = _choices(each, values, online, result)
    if choices is None:
        yield body, {**values, _ANY: Hole.WRONG}  # what uses its variable is lost, and no more
        return
    name, options = choices
    for option in options:
        yield body, {**values, name: option}


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
    if not name.text.isidentifier():
        refuse(name, f"`{name.text}` cannot be the name of a variable", example)
        return None
    if name.text in values:
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
    if len(listed.items) > _MOST_COPIES:
        refuse(listed, f"`for_each` repeats more than {_MOST_COPIES} times")
        return None
    options = []
    for option in listed.items:
        options.append(nodes.plain(_node(option, values, online, result, ""))[0])
    return name.text, options
