"""Templates on scalars: jinja2 expressions, and only what is bounded by construction.

An expression may use variables, literals, arithmetic, comparisons, ``if … else`` and a
few filters. There are no statements, no calls and no powers; see `source.expression`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

from damonpolicy import limits
from damonpolicy.diagnostics import did_you_mean
from damonpolicy.limits import shortened
from damonpolicy.recursion import deep
from damonpolicy.source.nodes import Scalar

__all__ = ("TemplateError", "holds_template", "line", "render")

_HINTS = {
    "DP0022": "a template gives one value; `for_each` repeats",
    "DP0023": "variables are text: write `{{ name | int * 2 }}` to calculate",
    "DP0024": "write the value out, or in steps under `vars:`",
}


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
    return Scalar(line(scalar.text)(variables), scalar.span, quoted=True)


def line(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what renders a template of one line, as often as there are lines.

    Raises `TemplateError`, also when it is rendered.
    """
    most = limits.TEMPLATE.most
    if len(text) > most:
        raise TemplateError("DP0024", f"a template is longer than {most} characters")
    return partial(_render, text)


def _render(text: str, variables: Mapping[str, Any]) -> str:
    import jinja2

    from damonpolicy.source.expression import Failed, evaluate

    try:
        with deep():
            return evaluate(_parsed(text), variables)
    except Failed as error:
        message, hint = str(error), error.hint
        if error.code == "DP0021":
            message = f"`{shortened(message, 60)}` is not defined"
            hint = did_you_mean(str(error), sorted(variables)) or "define it under `vars:`"
        elif error.code == "DP0023":
            message = f"the template fails: {message}"
        raise TemplateError(error.code, message, hint or _HINTS.get(error.code, "")) from error
    except jinja2.TemplateSyntaxError as error:
        message = shortened((error.message or "it cannot be read").rstrip("."), 200)
        hint = 'a template is an expression such as "{{ name }}"'
        raise TemplateError("DP0020", f"the template is wrong: {message}", hint) from error
    except RecursionError as error:
        raise TemplateError("DP0022", "the template is nested too deeply") from error
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        message = f"the template fails: {shortened(str(error), 200)}"
        raise TemplateError("DP0023", message, _HINTS["DP0023"]) from error


@lru_cache(maxsize=512)
def _parsed(text: str) -> Any:
    """Parse a template, once: `for_each` renders it for each of its items."""
    from damonpolicy.source.expression import check

    tree = _environment().parse(text)
    check(tree)
    return tree


@cache
def _environment() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # it only parses: nothing is compiled, and nothing of it is ever called
    return ImmutableSandboxedEnvironment(autoescape=False, optimized=False)
