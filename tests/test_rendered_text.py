"""No rendered text is parsed: what is written for people is not read again by code.

A wording may then change without a change of behaviour. *Rendered* is an expression that

- reads an attribute in `ATTRIBUTES`, or is the text of a caught exception;
- is a text with words and gaps, such as ``f"slot {slot} is busy"``;
- calls a function of the package whose result is one of these;
- is made of one of these by `or`, `if`, `+`, or a variable, or is in a list of them.

*Parsed* is what is compared with a text, searched, matched, split, cut or asked for a beginning.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import damonpolicy

PACKAGE = Path(damonpolicy.__file__).parent

ATTRIBUTES = {"described", "hint", "label", "meaning", "message", "title"}
"""Attributes that hold text for people, whatever object they belong to."""

PARSERS = {
    "count", "endswith", "find", "index", "partition", "removeprefix", "removesuffix", "replace",
    "rfind", "rindex", "rpartition", "rsplit", "split", "splitlines", "startswith",
}  # fmt: skip
"""Methods of texts that look for something in them."""

REGEX = {"findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn"}

WORDS = re.compile(r"[a-z`}] [a-z`{]|[a-z:,] $|^ [a-z(]")

ALLOWED = {
    "damonpolicy.cli.main:_usage": "click hands out its errors as text alone, in its own words",
    "damonpolicy.observe.records.parquet_read:_read": "only the first line of a library's error is shown",
}
"""Functions that look into rendered text, with the reason."""


@dataclass
class Module:
    """A module, and the functions that it imports, by their names here."""

    name: str
    tree: ast.Module
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    functions: list[tuple[str, ast.AST, list[ast.AST]]] = field(default_factory=list)
    """The qualified name, the definition and all nodes of each function, and of the module."""

    def __post_init__(self):
        self.functions = [
            (name, each, list(own(each)))
            for name, each in (("", self.tree), *_functions(self.tree, ""))
        ]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for each in node.names:
                    self.imported[each.asname or each.name] = (node.module, each.name)

    def members(self):
        """Yield the qualified names of all fields and methods."""
        for outer in ast.walk(self.tree):
            for each in outer.body if isinstance(outer, ast.ClassDef) else ():
                if isinstance(each, ast.FunctionDef):
                    yield f"{outer.name}.{each.name}"
                elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                    yield f"{outer.name}.{each.target.id}"


def _functions(node, outer):
    for each in ast.iter_child_nodes(node):
        name = f"{outer}.{each.name}".lstrip(".") if hasattr(each, "name") else outer
        if isinstance(each, ast.FunctionDef):
            yield name, each
        yield from _functions(
            each, name if isinstance(each, ast.ClassDef | ast.FunctionDef) else outer
        )


def own(function):
    """Yield the nodes of a function, without those of functions and classes inside."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


class Package:
    """Modules, and the functions among them that render."""

    def __init__(self, texts):
        self.modules = [Module(name, ast.parse(text)) for name, text in texts.items()]
        self.rendering = set()
        self.members = set()
        before = None
        while before != (before := len(self.rendering)):
            self.members = self._members()
            for module in self.modules:
                for name, function, nodes in module.functions:
                    if _text(function) and self._renders(module, nodes):
                        self.rendering.add((module.name, name))

    def _members(self):
        """Return the names of methods and properties that render wherever they are defined."""
        named = {each for _, each in self.rendering if "." in each}
        others = {
            each.rpartition(".")[2]
            for module in self.modules
            for each in module.members()
            if (module.name, each) not in self.rendering
        }
        return {each.rpartition(".")[2] for each in named} - others

    def _renders(self, module, nodes):
        seen = Seen(self, module, nodes)
        results = [each.value for each in nodes if isinstance(each, ast.Return | ast.Yield)]
        return any(seen.rendered(each, literal=True) for each in results if each)

    def offenders(self):
        """Yield the function and the line of each place that parses rendered text."""
        for module in self.modules:
            for name, _, nodes in module.functions:
                seen = Seen(self, module, nodes)
                for node in nodes:
                    if any(map(seen.rendered, parsed(node))):
                        yield f"{module.name}:{name}", node.lineno


def _text(function):
    kind = getattr(function, "returns", None)
    return kind is not None and ast.unparse(kind) in {"str", "str | None"}


@dataclass
class Seen:
    """What is rendered in one function."""

    package: Package
    module: Module
    nodes: list[ast.AST]
    names: set[str] = field(default_factory=lambda: {"hint", "message"})
    """Variables and parameters with rendered text."""
    lists: set[str] = field(default_factory=set)
    """Variables with lists of it."""
    errors: set[str] = field(default_factory=set)

    def __post_init__(self):
        self.errors = {each.name for each in self.nodes if isinstance(each, ast.ExceptHandler)}
        before = -1
        changes = [each for node in self.nodes for each in assigned(node)]
        while before != (before := len(self.names) + len(self.lists)):
            for target, value, inside in changes:
                if isinstance(target, ast.Name):
                    if self.listed(value) if inside else self.rendered(value):
                        self.names.add(target.id)
                    elif not inside and self.listed(value):
                        self.lists.add(target.id)

    def listed(self, node):
        """Return whether an expression is a list of texts for people."""
        match node:
            case ast.Name():
                return node.id in self.lists
            case ast.List() | ast.Tuple() | ast.Set():
                return any(map(self.rendered, node.elts))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return self.rendered(node.elt)
        return False

    def rendered(self, node, *, literal=False):
        """Return whether an expression is text for people; a ``literal`` one only for a result."""
        match node:
            case ast.Attribute():
                return node.attr in ATTRIBUTES | self.package.members
            case ast.Name():
                return node.id in self.names
            case ast.Constant():
                return literal and isinstance(node.value, str) and bool(WORDS.search(node.value))
            case ast.JoinedStr():
                return any(self.rendered(each, literal=True) for each in node.values)
            case ast.BoolOp():
                return any(self.rendered(each, literal=literal) for each in node.values)
            case ast.IfExp():
                return any(
                    self.rendered(each, literal=literal) for each in (node.body, node.orelse)
                )
            case ast.BinOp(op=ast.Add()):
                return any(self.rendered(each, literal=literal) for each in (node.left, node.right))
            case ast.Call():
                return self._called(node)
        return False

    def _called(self, node):
        match node.func:
            case ast.Name(id="str" | "repr"):
                return any(
                    isinstance(each, ast.Name) and each.id in self.errors for each in node.args
                )
            case ast.Name(id=name):
                home, real = self.module.imported.get(name, (self.module.name, name))
                return (home, real) in self.package.rendering
            case ast.Attribute(value=ast.Name(id=base), attr=name):
                if base in {"self", "cls"}:
                    return any(
                        home == self.module.name and each.endswith(f".{name}")
                        for home, each in self.package.rendering
                    )
                package, module = self.module.imported.get(base, ("", ""))
                if package:
                    return (f"{package}.{module}", name) in self.package.rendering
                return name in self.package.members
            case ast.Attribute(attr=name):
                return name in self.package.members
        return False


def assigned(node):
    """Yield targets, values, and whether the target is one of those in the value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    yield one, value, False
            else:
                yield target, node.value, False
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
        yield node.target, node.value, False
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.target, node.iter, True


def parsed(node):
    """Yield the expressions into which a node looks."""
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=name)):
            if name in PARSERS:
                yield value
            if name in REGEX:
                yield from node.args
        case ast.Compare(left=left, ops=ops, comparators=sides):
            if isinstance(ops[0], ast.In | ast.NotIn):
                yield sides[0]
                yield from (left for each in sides if not isinstance(each, ast.Name))
            elif any(isinstance(each, ast.Constant) and each.value for each in (left, *sides)):
                yield from (left, *sides)
        case ast.Subscript(value=value, slice=ast.Slice(lower=None, step=None)):
            pass  # that cuts a text to a length
        case ast.Subscript(value=value, ctx=ast.Load()):
            yield value
        case ast.Match(subject=subject):
            yield subject


def package(directory=PACKAGE):
    return Package(
        {
            ".".join(path.relative_to(directory.parent).with_suffix("").parts): path.read_text(
                "utf-8"
            )
            for path in sorted(directory.rglob("*.py"))
        }
    )


@pytest.fixture(scope="module")
def ours():
    return package()


def test_no_rendered_text_is_parsed(ours):
    found = sorted(ours.offenders())

    assert [f"{name} in line {line}" for name, line in found if name not in ALLOWED] == []


def test_every_exception_is_still_one(ours):
    assert ALLOWED.keys() - {name for name, _ in ours.offenders()} == set()


def test_functions_that_render_are_found(ours):
    assert {
        ("damonpolicy.base.diagnostics", "did_you_mean"),
        ("damonpolicy.base.errors", "as_root"),
        ("damonpolicy.kernel.settings", "refusal"),
        ("damonpolicy.plan.show.texts", "value_text"),
        ("damonpolicy.policy.model.sample", "Accesses.described"),
    } <= ours.rendering


HELPERS = """
def busy(slot) -> str:
    return f"slot {slot} is busy"

def told(slot) -> str:
    return busy(slot) or ""

class Quota:
    def remark(self) -> str:
        return "the quota is full"

class Scheme:
    name: str
"""


@pytest.mark.parametrize(
    "line",
    [
        'if "list" in error.message: pass',
        'if error.hint.startswith("did you mean"): pass',
        'if error.hint == "run as root": pass',
        'error.message.split(":")',
        'error.message.removeprefix("slot ")',
        "error.title[3]",
        'error.message[len("slot "):]',
        're.search("[0-9]+", error.message)',
        "_NUMBER.fullmatch(error.hint or error.message)",
        "text = error.message\n    other = text\n    other.partition(':')",
        'text = f"slot {error} is busy"\n    text.rsplit(" ", 1)',
        'told(3).partition(" is ")',
        'helpers.busy(3).endswith("busy")',
        'text = told(3)\n    if "busy" in text: pass',
        '[each for each in [told(1), told(2)] if each.endswith("y")]',
        "texts = [told(each) for each in error]\n    for each in texts: each.split()",
        "match error.message:\n        case 'busy': pass",
        'error.quota.remark().count("full")',
        "try: pass\n    except OSError as one: str(one).split()",
        'hint.replace("`", "")',
    ],
)
def test_an_offender_would_be_found(line):
    text = f"import re\nfrom p import helpers\nfrom p.helpers import told\ndef f(error, hint):\n    {line}\n"

    found = Package({"p.helpers": HELPERS, "p.user": text}).offenders()

    assert [name for name, _ in found][:1] == ["p.user:f"]


@pytest.mark.parametrize(
    "line",
    [
        "if not error.message: pass",
        "if error.message and told(3): pass",
        "if error.code in CODES: pass",
        'error.name.split("/")',
        "if error.message in seen: pass",
        "return error.message[:80]",
        'return f"{error.message}; {told(3)}"',
        '"a text".split()',
    ],
)
def test_what_only_shows_a_text_is_no_offender(line):
    text = f"from p.helpers import told\ndef f(error, seen):\n    {line}\n"

    assert list(Package({"p.helpers": HELPERS, "p.user": text}).offenders()) == []
