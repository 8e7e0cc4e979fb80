"""Templates on scalars: jinja2 expressions, and only what is bounded by construction.

An expression may use variables, literals, arithmetic, comparisons, ``if … else`` and a
few filters. There are no statements, no calls and no powers, so that nothing can loop,
and each step checks the length of what it made: time and output are bounded by the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

from damonpolicy.diagnostics import did_you_mean
from damonpolicy.recursion import deep
from damonpolicy.source.nodes import Scalar

__all__ = ("TemplateError", "holds_template", "line", "render")

MOST_TEMPLATE = 1_000
MOST_OUTPUT = 4_096

_FILTERS = (
    "abs",
    "default",
    "float",
    "int",
    "length",
    "lower",
    "replace",
    "round",
    "trim",
    "upper",
)


class TemplateError(ValueError):
    """A template that cannot be rendered; ``code`` and ``hint`` go into the diagnostic."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def holds_template(text: str) -> bool:
    """Tell whether jinja2 is needed at all; it is imported only then."""
    return "{{" in text or "{%" in text or "{#" in text


def render(scalar: Scalar, variables: Mapping[str, Any]) -> Scalar:
    """Render one scalar; its place stays.

    Raises `TemplateError` for anything that is wrong with the template.
    """
    if not holds_template(scalar.text):
        return scalar
    if len(scalar.text) > MOST_TEMPLATE:
        raise TemplateError("DP0024", f"a template is longer than {MOST_TEMPLATE} characters")
    text = _render(scalar.text, variables)
    if len(text) > MOST_OUTPUT:
        raise TemplateError("DP0024", f"a template gives more than {MOST_OUTPUT} characters")
    return Scalar(text, scalar.span, quoted=True)


def line(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what renders a template of one line, as often as there are lines.

    Raises `TemplateError`, also when it is rendered.
    """
    if len(text) > MOST_TEMPLATE:
        raise TemplateError("DP0024", f"a template is longer than {MOST_TEMPLATE} characters")
    return partial(_render, text)


def _render(text: str, variables: Mapping[str, Any]) -> str:
    import jinja2

    try:
        with deep():
            return str(_compiled(text).render(variables))
    except jinja2.UndefinedError as error:
        quoted = str(error.message or "").split("'")[1::2]
        name = quoted[-1] if quoted else ""
        what = f"`{name}` is not defined" if name else "a variable is not defined"
        hint = did_you_mean(name, sorted(variables)) or "define it under `vars:`"
        raise TemplateError("DP0021", what, hint) from error
    except jinja2.TemplateSyntaxError as error:
        message = (error.message or "it cannot be read").rstrip(".")
        hint = 'a template is an expression such as "{{ name }}"'
        raise TemplateError("DP0020", f"the template is wrong: {message}", hint) from error
    except jinja2.TemplateError as error:
        hint = "a template gives one value; `for_each` repeats"
        raise TemplateError("DP0022", f"the template is refused: {error}", hint) from error
    except RecursionError as error:
        raise TemplateError("DP0022", "the template is nested too deeply") from error
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        hint = "variables are text: write `{{ name | int * 2 }}` to calculate"
        raise TemplateError("DP0023", f"the template fails: {error}", hint) from error


@lru_cache(maxsize=512)
def _compiled(text: str) -> Any:
    """Compile a template, once: `for_each` renders it for each of its items."""
    environment = _environment()
    tree = environment.parse(text)
    _check(tree)
    return environment.from_string(tree)


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = all(isinstance(each, (int, float)) for each in (left, right))
            if not numbers and not (operator == "+" and isinstance(left, type(right))):
                kind = "text" if isinstance(left, str) or isinstance(right, str) else "this"
                message = f"`{operator}` does not take {kind}"
                raise TypeError(message)
            return _bounded(super().call_binop(context, operator, left, right))

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return False

    def _bounded(value: Any) -> Any:
        if isinstance(value, int) and value.bit_length() > 256:
            message = "a number becomes too large"
            raise SecurityError(message)
        if isinstance(value, str) and len(value) > MOST_OUTPUT:
            message = "a text becomes too long"
            raise SecurityError(message)
        return value

    environment = Bounded(undefined=StrictUndefined, autoescape=False, optimized=False)
    environment.globals.clear()
    environment.tests = {name: environment.tests[name] for name in ("defined", "undefined")}
    known = {name: environment.filters[name] for name in _FILTERS if name != "default"}

    def guarded(function: Any) -> Any:
        def bounded(value: Any, *arguments: Any) -> Any:
            return _bounded(function(value, *arguments))

        return bounded

    environment.filters = {name: guarded(function) for name, function in known.items()}
    environment.filters["default"] = environment.filters["d"] = _default

    def replace(value: Any, old: Any, new: Any) -> Any:
        if not old:
            message = "`replace` needs something to look for"
            raise ValueError(message)
        return _bounded(str(value).replace(str(old), str(new)))

    environment.filters["replace"] = replace
    return environment


def _default(value: Any, other: Any = "") -> Any:
    from jinja2 import Undefined

    return other if isinstance(value, Undefined) else value


def _check(tree: Any) -> None:
    """Refuse every kind of node that is not on the list; see the module's first lines."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    allowed = (
        nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr,
        nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And,
        nodes.Or, nodes.Not, nodes.CondExpr, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div,
        nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat,
    )  # fmt: skip
    for node in _every(tree):
        if not isinstance(node, allowed):
            kind = type(node).__name__.lower()
            what = {"call": "calls are", "pow": "powers are", "for": "loops are"}.get(
                kind, f"`{kind}` is"
            )
            message = f"{what} not part of policy templates"
            raise SecurityError(message)
        if isinstance(node, nodes.Name) and node.name == "self":
            message = "`self` is not part of policy templates"
            raise SecurityError(message)
        if isinstance(node, nodes.Filter) and node.kwargs:
            message = "filters take no keyword arguments here"
            raise SecurityError(message)


def _every(tree: Any) -> Any:
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.iter_child_nodes())
