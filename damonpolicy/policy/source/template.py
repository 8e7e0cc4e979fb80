"""Templates in scalars: a bounded subset of jinja2 expressions.

An expression may use variables, literals, arithmetic, comparisons, ``if … else`` and a
few filters. There are no statements, no calls and no powers; see `policy.source.expression`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import closest, did_you_mean
from damonpolicy.base.limits import shortened
from damonpolicy.base.recursion import deep
from damonpolicy.policy.source.nodes import Scalar

__all__ = ("SHELL", "TemplateError", "Templates", "holds_template", "line")

_HINTS = {
    "DP0021": "define it under `vars:`",
    "DP0022": "a template gives one value; `for_each` repeats",
    "DP0023": "variables are text: write `{{ name | int * 2 }}` to calculate",
    "DP0024": "write the value out, or in steps under `vars:`",
    "DP0036": "write out values that are used often",
}


SHELL = r"\$\{?([A-Za-z_]\w*)\}?"
"""The form of a variable in a shell, which is meant as a template."""
_NAME = r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}"
_RESERVED = {"and", "else", "false", "if", "in", "is", "none", "not", "or", "true"}
"""Words of jinja2 that name no variable."""


class TemplateError(ValueError):
    """A template that cannot be rendered; ``code`` and ``hint`` go into the diagnostic.

    ``unknown`` is the undefined name, if that is the error.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        unknown: str = "",
        known: Iterable[tuple[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.unknown = unknown
        self._known = known
        self._hint = hint or _HINTS.get(code, "")

    @property
    def hint(self) -> str:
        """The hint, computed only when it is shown."""
        known = list(self._known)
        if close := closest(self.unknown, [name for name, _ in known]):
            return f"did you mean `{close}`?"
        texts = [name for name, value in known if isinstance(value, str)]
        return did_you_mean(self.unknown, texts) or self._hint


def holds_template(text: str) -> bool:
    """Return whether jinja2 is needed; it is imported only then."""
    return "{{" in text or "{%" in text or "{#" in text


class Templates:
    """The templates of one policy: each is parsed once, and their total steps are limited."""

    def __init__(self) -> None:
        self._trees: dict[str, tuple[Any, int]] = {}
        self._read = self._steps = self._made = 0

    def render(self, scalar: Scalar, variables: Mapping[str, Any]) -> Scalar:
        """Render one scalar; it keeps its place.

        Raises `TemplateError` for any error in the template.
        """
        if not holds_template(scalar.text):
            return scalar
        made = _named(scalar.text, variables)
        if made is None:
            made = _render(scalar.text, variables, self._tree)
        else:
            self._read_more(scalar.text)
        self._made += len(made)
        _within(self._made, limits.TEMPLATES_TEXT, "give more than {} characters")
        return Scalar(made, scalar.span, quoted=True)

    def _tree(self, text: str) -> Any:
        if text not in self._trees:
            self._read_more(text)
            self._trees[text] = _parsed(text)
        tree, steps = self._trees[text]
        self._steps += steps
        _within(self._steps, limits.TEMPLATES_STEPS, "take more than {} steps")
        return tree

    def _read_more(self, text: str) -> None:
        self._read += len(text)
        _within(self._read, limits.TEMPLATES, "are longer than {} characters")


def _named(text: str, variables: Mapping[str, Any]) -> str | None:
    """Return the value of a template that is only the name of a text, without jinja2.

    Most templates are that, and importing jinja2 takes longer than reading a policy.
    """
    found = re.fullmatch(_NAME, text)
    if found is None or found[1].lower() in _RESERVED or len(text) > limits.TEMPLATE.most:
        return None
    value = variables.get(found[1])
    return value if isinstance(value, str) and len(value) <= limits.TEMPLATE_TEXT.most else None


def _within(number: int, limit: limits.Limit, what: str) -> None:
    if number > limit.most:
        message = f"all templates of this policy together {what.format(f'{limit.most:,}')}"
        raise TemplateError(limit.code, message)


def line(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that renders a one-line template, once per line.

    Raises `TemplateError`, also when it is rendered.
    """
    _short(text)
    return partial(_render, text, tree_of=lambda text: _kept(text)[0])


def _short(text: str) -> None:
    most = limits.TEMPLATE.most
    if len(text) > most:
        raise TemplateError("DP0024", f"a template is longer than {most} characters")


def _render(text: str, variables: Mapping[str, Any], tree_of: Callable[[str], Any]) -> str:
    import jinja2

    from damonpolicy.policy.source.expression import Failed, evaluate

    _short(text)
    try:
        with deep():
            return evaluate(tree_of(text), variables)
    except Failed as error:
        message, hint = str(error), error.hint
        if error.code == "DP0023":
            message = f"the template fails: {message}"
            hint = hint or _as_numbers(text, variables)
        known = variables.items() if error.code == "DP0021" else ()
        raise TemplateError(error.code, message, hint, error.name, known) from error
    except TemplateError:
        raise
    except jinja2.TemplateSyntaxError as error:
        message = shortened((error.message or "it cannot be read").rstrip("."), 200)
        hint = 'a template is an expression such as "{{ name }}"'
        raise TemplateError("DP0020", f"the template is wrong: {message}", hint) from error
    except RecursionError as error:
        raise TemplateError("DP0022", "the template is nested too deeply") from error
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        message = f"the template fails: {shortened(str(error), 200)}"
        raise TemplateError("DP0023", message) from error


def _as_numbers(text: str, variables: Mapping[str, Any]) -> str:
    """Return the hint for a template that uses text variables as numbers, if that is the error."""
    known = [name for name in variables if name.isidentifier() and name in text]
    words = "|".join(map(re.escape, known[:50]))
    inside = re.compile(rf"\b({words})\b(?!\s*\|)")
    meant = re.sub(r"\{\{.*?\}\}", lambda found: inside.sub(r"\1 | int", found[0]), text)
    if not known or meant == text or len(meant) > 80:
        return ""
    try:
        line(meant)(variables)
    except TemplateError:
        return ""
    return f"variables are text: write `{meant}`"


def _parsed(text: str) -> tuple[Any, int]:
    """Parse a template; returns its tree, and its number of steps."""
    from damonpolicy.policy.source.expression import check

    tree = _environment().parse(text)
    return tree, check(tree)


_kept = lru_cache(maxsize=8)(_parsed)


@cache
def _environment() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # it only parses: nothing is compiled or called
    return ImmutableSandboxedEnvironment(autoescape=False, optimized=False)
