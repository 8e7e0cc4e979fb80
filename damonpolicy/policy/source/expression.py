"""Bounded evaluation of template expressions, which jinja2 parses.

jinja2 would compile them to Python, whose steps cannot be counted. So its syntax tree is walked
instead. Only the operations named here exist, each checks the size of its result in advance, and
their number per template is limited: time and memory are bounded for any text.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from jinja2 import nodes

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import is_whole
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.limits import shortened

__all__ = ("FILTERS", "TESTS", "Failed", "Undefined", "check", "evaluate")


class Failed(ValueError):
    """An expression without a value; ``code`` is that of the diagnostic.

    ``name`` is the undefined one, if that is the error.
    """

    def __init__(self, message: str, code: str = "DP0023", hint: str = "", name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.name = name


@dataclass(frozen=True, slots=True)
class Undefined:
    """The value of an undefined name until it is needed."""

    name: str = ""


def _text(value: Any) -> str:
    """Return the printed form of a value."""
    if isinstance(_known(value), (Mapping, list)):
        raise Failed("a mapping or a list is not text: name one of its values")
    text: str = _bounded(str(value))
    return text


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > limits.TEMPLATE_TEXT.most:
        raise Failed("a text becomes too long", "DP0024")
    if isinstance(value, int) and value.bit_length() > limits.TEMPLATE_BITS.most:
        raise Failed("a number becomes too large", "DP0024")
    return value


def _known(value: Any) -> Any:
    if isinstance(value, Undefined):
        message = f"`{shortened(value.name, 60)}` is not defined"
        raise Failed(message, "DP0021", name=value.name)
    return value


def _number(value: Any, sign: str) -> Any:
    if not isinstance(_known(value), (int, float)):
        kind = "text" if isinstance(value, str) else "this"
        raise Failed(f"`{sign}` does not take {kind}")
    return value


def _joined(parts: list[str]) -> str:
    """Join texts, after a check of their total length."""
    if sum(map(len, parts)) > limits.TEMPLATE_TEXT.most:
        raise Failed("a text becomes too long", "DP0024")
    return "".join(parts)


def _int(value: Any, other: Any = 0, base: Any = 10) -> Any:
    """Convert like jinja2: a value that is not a number becomes ``other``."""
    if base not in range(2, 37) or isinstance(base, float):
        raise Failed("`int` takes bases from 2 to 36")
    other_base = isinstance(value, str) and base != 10
    ways: tuple[Callable[[], int], ...] = (
        lambda: int(_bounded(value), base) if other_base else int(value),
        lambda: int(float(value)),  # as "1.5"
    )
    for convert in ways:
        with suppress(TypeError, ValueError, OverflowError):
            return convert()
    return other


def _float(value: Any, other: Any = 0.0) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return other


def _length(value: Any) -> int:
    if not isinstance(value, (str, Mapping, list)):
        raise Failed("`length` takes a text")
    return len(value)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, before, after = _text(value), _text(old), _text(new)
    if not before:
        raise Failed("`replace` needs something to look for")
    if len(text) + text.count(before) * (len(after) - len(before)) > limits.TEMPLATE_TEXT.most:
        raise Failed("a text becomes too long", "DP0024")
    return text.replace(before, after)


def _round(value: Any, digits: Any = 0, method: Any = "common") -> float:
    number = _number(value, "round")
    if not isinstance(digits, int) or not 0 <= digits <= limits.TEMPLATE_DIGITS.most:
        raise Failed(f"`round` keeps 0 to {limits.TEMPLATE_DIGITS.most} digits")
    ways: dict[Any, Callable[[float], float]] = {"ceil": math.ceil, "floor": math.floor}
    if method == "common":
        return float(round(number, digits))
    if not isinstance(method, str) or method not in ways:
        raise Failed("`round` takes `common`, `ceil` or `floor`")
    return float(ways[method](number * 10**digits) / 10**digits)


def _trim(value: Any, characters: Any = None) -> str:
    return _text(value).strip(None if characters is None else _text(characters))


def _default(value: Any, other: Any = "") -> Any:
    return other if isinstance(value, Undefined) else value


FILTERS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (lambda value: abs(_number(value, "abs")), 0, 0),
    "d": (_default, 0, 1),
    "default": (_default, 0, 1),
    "float": (_float, 0, 1),
    "int": (_int, 0, 2),
    "length": (_length, 0, 0),
    "lower": (lambda value: _text(value).lower(), 0, 0),
    "replace": (_replace, 2, 2),
    "round": (_round, 0, 2),
    "trim": (_trim, 0, 1),
    "upper": (lambda value: _text(value).upper(), 0, 0),
}
"""The function of each filter, and its least and most arguments."""

TESTS = ("defined", "undefined")

_ARITHMETIC: Mapping[type[nodes.Node], tuple[str, Callable[[Any, Any], Any]]] = {
    nodes.Add: ("+", operator.add),
    nodes.Sub: ("-", operator.sub),
    nodes.Mul: ("*", operator.mul),
    nodes.Div: ("/", operator.truediv),
    nodes.FloorDiv: ("//", operator.floordiv),
    nodes.Mod: ("%", operator.mod),
}
_COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda left, right: operator.contains(right, left),
    "notin": lambda left, right: not operator.contains(right, left),
}
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr,
    nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.CondExpr, nodes.Neg, nodes.Pos, nodes.Concat, *_ARITHMETIC,
)  # fmt: skip
_REFUSED = {"call": "calls are", "pow": "powers are", "for": "loops are"}


def check(tree: nodes.Template) -> int:
    """Refuse syntax that is not part of policy templates, or is too deep or too long.

    Returns the number of steps. Raises `Failed`; does not recurse itself.
    """
    level: list[nodes.Node] = [tree]
    deep = steps = 0
    while level:
        deep += 1
        steps += len(level)
        if deep > limits.TEMPLATE_DEPTH.most:
            raise Failed("the template is nested too deeply", "DP0022")
        if steps > limits.TEMPLATE_STEPS.most:
            raise Failed(f"a template has more than {limits.TEMPLATE_STEPS.most} parts", "DP0024")
        for node in level:
            _check_one(node)
        level = [child for node in level for child in node.iter_child_nodes()]
    return steps


def _check_one(node: nodes.Node) -> None:
    reason = hint = ""
    if not isinstance(node, _ALLOWED):
        kind = type(node).__name__.lower()
        reason = f"{_REFUSED.get(kind, f'`{kind}` is')} not part of policy templates"
    elif isinstance(node, nodes.Name) and node.name == "self":
        reason = "`self` is not part of policy templates"
    elif isinstance(node, nodes.Filter):
        reason, hint = _check_filter(node)
    elif isinstance(node, nodes.Test) and node.name not in TESTS:
        reason = f"there is no test `{node.name}`"
        hint = "`is defined` and `is undefined` are there"
    elif isinstance(node, nodes.Const) and not is_whole(str(node.value)):
        reason = "half a character is not text"
    if reason:
        raise Failed(f"the template is refused: {reason}", "DP0022", hint)


def _check_filter(node: nodes.Filter) -> tuple[str, str]:
    if node.name not in FILTERS:
        there = ", ".join(f"`{each}`" for each in FILTERS if each != "d")
        return f"there is no filter `{node.name}`", f"one of {there}"
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        return "filters take no keyword arguments here", ""
    _, least, most = FILTERS[node.name]
    if not least <= len(node.args) <= most:
        many = f"{least}" if least == most else f"{least} to {most}"
        return f"`{node.name}` takes {many} arguments", ""
    return "", ""


def evaluate(tree: nodes.Template, variables: Mapping[str, Any]) -> str:
    """Return the text of a checked template. Raises `Failed`, and any error of Python."""
    outputs = [each for part in tree.body for each in part.iter_child_nodes()]
    return _joined([_text(_value(each, variables)) for each in outputs])


def _value(node: Any, variables: Mapping[str, Any]) -> Any:
    return _bounded(_one(node, variables))


def _one(node: Any, variables: Mapping[str, Any]) -> Any:  # one case a kind
    def of(part: Any) -> Any:
        return _value(part, variables)

    match node:
        case nodes.TemplateData():
            return node.data
        case nodes.Const():
            return node.value
        case nodes.Name():
            return variables.get(node.name, Undefined(node.name))
        case nodes.Getattr():
            return _part(of(node.node), node.attr)
        case nodes.Getitem():
            return _part(of(node.node), _known(of(node.arg)))
        case nodes.Filter():
            value = of(node.node)
            if node.name not in ("d", "default"):
                _known(value)
            return FILTERS[node.name][0](value, *(_known(of(each)) for each in node.args))
        case nodes.Test():
            return isinstance(of(node.node), Undefined) == (node.name == "undefined")
        case nodes.Compare():
            return _compared(node, variables)
        case nodes.And():
            return _known(of(node.left)) and of(node.right)
        case nodes.Or():
            return _known(of(node.left)) or of(node.right)
        case nodes.Not():
            return not _known(of(node.node))
        case nodes.CondExpr():
            if _known(of(node.test)):
                return of(node.expr1)
            return Undefined("else") if node.expr2 is None else of(node.expr2)
        case nodes.Concat():
            return _joined([_text(of(each)) for each in node.nodes])
        case nodes.Neg():
            return -_number(of(node.node), "-")
        case nodes.Pos():
            return +_number(of(node.node), "+")
    sign, calculate = _ARITHMETIC[type(node)]
    left, right = _known(of(node.left)), _known(of(node.right))
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return _joined([left, right])
    return calculate(_number(left, sign), _number(right, sign))


def _part(value: Any, name: Any) -> Any:
    """Return an item of a mapping or a list, or a character of a text; never an attribute."""
    _known(value)
    if isinstance(value, Mapping):
        return value.get(name, Undefined(str(name)))
    if isinstance(value, (str, list)) and isinstance(name, int):
        return value[name] if -len(value) <= name < len(value) else Undefined(str(name))
    return Undefined(str(name))


def _compared(node: nodes.Compare, variables: Mapping[str, Any]) -> bool:
    left = _known(_value(node.expr, variables))
    for each in node.ops:
        right = _known(_value(each.expr, variables))
        if not _COMPARED[each.op](left, right):
            return False
        left = right
    return True
