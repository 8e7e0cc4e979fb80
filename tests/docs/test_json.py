"""The page of JSON output lists the values of words, and no data as keys."""

from __future__ import annotations

import ast
import re
import sys

import click
import pytest

from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS, find_command
from tests.conftest import ROOT

PAGE = ROOT / "docs/reference/json.md"
LINE = re.compile(r"( *)([\w/…]+): ([^#\n]*?)(?:  # (.*))?$")


@pytest.fixture(scope="module")
def generator():
    """What makes the page."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from generator import json_page, json_runs, json_shapes
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return json_runs, json_shapes, json_page


@pytest.fixture(scope="module")
def seen(generator):
    """The texts that documents really hold, by the page's name of their place."""
    runs, shapes, _ = generator
    found: dict[str, set[str]] = {}

    def look(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, f"{path}.{shapes.BY_NAME.get(path, key)}")
        elif isinstance(value, list):
            for inner in value:
                look(inner, path)
        elif isinstance(value, str) and value:
            found.setdefault(path, set()).add(value)

    for name, documents in runs.documents().items():
        for document in documents if name != "schema" else ():
            look(document["data"], name)
            look(document["diagnostics"], ".diagnostics")
    return found


def shown():
    """What the page says of each place: its shape and the remark."""
    found, path, command = {}, [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            command = line.removeprefix("## ")
        elif match := LINE.fullmatch(line):
            indent, key, shape, remark = match.groups()
            path = [*path[: len(indent) // 2 - 1], key]
            found[".".join((command, *path))] = (shape, remark or "")
    return found


def enumerations():
    """Every set of words that the code itself lists: literals, and what options choose from."""
    for file in (ROOT / "damonpolicy").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                words = ast.literal_eval(node.slice)
                yield {words} if isinstance(words, str) else set(words)
    reports = find_command("report")
    for command in (
        *map(find_command, COMMANDS),
        *(reports.get_command(click.Context(reports), name) for name in REPORTS),
    ):
        for option in command.params:
            if isinstance(option.type, click.Choice):
                yield set(option.type.choices)


def test_words_that_the_code_lists_are_listed(seen):
    told = shown()
    known = [words for words in enumerations() if len(words) > 1]
    plan = {place.partition(".")[2] for place in told if place.startswith("plan.")}
    missing = {}
    for place, values in seen.items():
        _, _, rest = place.partition(".")
        where = f"plan.{rest}" if place not in told and rest in plan else place
        lists = [words for words in known if values <= words]
        remark = set(re.findall(r"[\w-]+", told.get(where, ("", ""))[1]))
        if lists and not any(words - {"free", ""} <= remark for words in lists):
            missing[place] = values

    assert not missing


def test_keys_are_names_of_the_code_and_data_is_in_capitals():
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "damonpolicy").rglob("*.py")
    )
    names = set(re.findall(r"\w+", code)) | {"…"}
    policies = {file.stem for file in (ROOT / "policies").glob("*.yaml")}
    keys = {place.rpartition(".")[2] for place in shown()}

    assert {key for key in keys if not key.isupper()} - names == set()
    assert not keys & policies


def test_a_text_that_is_not_listed_is_found(generator):
    _, shapes, page = generator

    with pytest.raises(SystemExit, match="can be `perhaps`"):
        shapes.of_value({"known": "perhaps"}, "features.features.x")
    with pytest.raises(SystemExit, match="has data for a key"):
        page._lines(shapes.of_value({"goals/m": "a"}, "any"), "", "any")
    with pytest.raises(SystemExit, match="no run fills"):
        page._lines(shapes.of_value({"first": []}, "any"), "", "any")
    with pytest.raises(SystemExit, match="says nothing of"):
        page._lines(shapes.of_value({"anything": 1}, "any"), "", "any")
