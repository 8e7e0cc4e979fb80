"""The house rules: sizes of files and functions, and nothing written twice."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

import damonpolicy

PACKAGE = Path(damonpolicy.__file__).parent
FILE = 400
FUNCTION = 60
PARAMETERS = 7
SHARED = 8
"""How many lines two places may have in common, one after the other."""
SAME = 9
"""How many lines two policies in tests may have in common: most begin in the same way."""


def functions(tree, outer=""):
    """Yield all functions with their full names."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        name = f"{outer}.{node.name}".lstrip(".") if named else outer
        if named and not isinstance(node, ast.ClassDef):
            yield name, node
        yield from functions(node, name)


def parameters(function):
    """Count what a caller may hand over."""
    taken = function.args
    single = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
    return sum(each is not None and each.arg not in ("self", "cls") for each in single)


def lines(text):
    """Return number and content of all lines that count: no comments, imports or white space."""
    imports = (ast.Import, ast.ImportFrom)
    silent = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, imports)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.start[1]
    cut = [
        (number, " ".join(line[: comments.get(number)].split()))
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in silent
    ]
    return [(number, line) for number, line in cut if line]


def shared(texts, most=SHARED):
    """Return the pairs of places that have more lines in common, with how many these are."""
    counted = {name: lines(text) for name, text in texts.items()}
    places = defaultdict(list)
    for name, known in counted.items():
        for start in range(len(known) - most):
            run = tuple(line for _, line in known[start : start + most + 1])
            places[run].append((name, start))
    found = {}
    for these in places.values():
        for index, one in enumerate(these):
            for other in these[index + 1 :]:
                found[one, other] = most + 1
    for one, other in sorted(found, reverse=True):  # runs that overlap are one
        following = ((one[0], one[1] + 1), (other[0], other[1] + 1))
        if following in found:
            found[one, other] = found.pop(following) + 1
    return {
        " ~ ".join(f"{name}:{counted[name][start][0]}" for name, start in pair): length
        for pair, length in found.items()
    }


@pytest.fixture(scope="module")
def texts():
    return {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def test_files_are_short(texts):
    sizes = {name: len(text.splitlines()) for name, text in texts.items()}

    assert {name: size for name, size in sizes.items() if size > FILE} == {}


def test_files_of_tests_are_short():
    files = Path(__file__).parent.rglob("*.py")
    sizes = {str(path): len(path.read_text("utf-8").splitlines()) for path in files}

    assert {name: size for name, size in sizes.items() if size > FILE} == {}


def test_functions_are_short(texts):
    sizes = {
        f"{file}:{name}": node.end_lineno - node.lineno + 1
        for file, text in texts.items()
        for name, node in functions(ast.parse(text))
    }

    assert {name: size for name, size in sizes.items() if size > FUNCTION} == {}


def test_public_functions_take_few_parameters(texts):
    taken = {
        f"{file}:{name}": parameters(node)
        for file, text in texts.items()
        for name, node in functions(ast.parse(text))
        if name.endswith("__") or not name.rpartition(".")[2].startswith("_")
    }

    assert {name: n for name, n in taken.items() if n > PARAMETERS} == {}


def test_nothing_is_written_twice(texts):
    assert shared(texts) == {}


def written(path):
    """Yield the texts of many lines in a file of tests, as lists of lines."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield [line.strip() for line in node.value.splitlines() if line.strip()]


def same(texts, most=SAME):
    """Return the places that have more lines of a text in common."""
    places = defaultdict(set)
    for place, lines in texts:
        for start in range(len(lines) - most):
            places[tuple(lines[start : start + most + 1])].add(place)
    return {tuple(sorted(each)) for each in places.values() if len(each) > 1}


def test_no_policy_is_written_twice_in_tests():
    files = Path(__file__).parent.rglob("*.py")

    assert same((str(path), lines) for path in files for lines in written(path)) == set()


def test_a_policy_that_is_written_twice_would_be_seen():
    lines = [f"{number}: a" for number in range(5)]

    assert same([("a", lines), ("b", ["b", *lines])], most=4) == {("a", "b")}
    assert same([("a", lines), ("b", ["b", *lines])], most=5) == set()


def test_what_is_too_large_would_be_seen():
    text = "class A:\n    async def f(self, a, *b, c, **d):\n        def g(): ...\n"

    found = dict(functions(ast.parse(text)))

    assert list(found) == ["A.f", "A.f.g"]
    assert parameters(found["A.f"]) == 4


def test_copies_would_be_seen_whatever_stands_between_their_lines():
    one = "\n".join(f"x{number} = '#'  # one" for number in range(6))
    other = "import os\n\n" + one.replace("# one", "").replace(" = ", "  =  ").replace("\n", "\n\n")

    assert shared({"a": one, "b": other}, most=5) == {"a:1 ~ b:3": 6}
    assert shared({"a": one, "b": other}, most=4) == {"a:1 ~ b:3": 6}
    assert shared({"a": one, "b": other}, most=6) == {}
    assert shared({"a": f"{one}\n{one}"}, most=5) == {"a:1 ~ a:7": 6}
