"""The JSON Schemas of commands' output accept it, and nothing else."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys

import jsonschema
import pytest

from damonpolicy.cli.commands.emulate import LEVERS
from damonpolicy.cli.commands.report import REPORTS
from damonpolicy.cli.main import COMMANDS
from tests.conftest import ROOT
from tests.outputs import OUTPUT, conform, validator

NAMES = [
    "damonpolicy",
    *COMMANDS,
    *(f"report-{name}" for name in REPORTS),
    *(f"emulate-{name}" for name in LEVERS),
]
UNITS = re.compile(r".*_(bytes|us|ms|ns|permil|percent|per_second)")
NOTHING = ("damonpolicy", "report", "emulate", "top")
"""Which have no data."""
DATA = [name for name in NAMES if name not in NOTHING]


def schema(name):
    return json.loads((OUTPUT / f"{name}.schema.json").read_text(encoding="utf-8"))


def kinds(part):
    """The types that a schema takes."""
    kind = part.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def examples(part):
    """Values of each form that a schema takes, which have every key and an item in each list."""
    if "anyOf" in part and "properties" not in part:
        return [each for form in part["anyOf"] for each in examples(form)]
    return [example(part)]


def example(part):
    if "const" in part:
        return part["const"]
    if "enum" in part:
        return part["enum"][0]
    kind, *_ = kinds(part)
    if kind == "object":
        named = part.get("additionalProperties")
        if isinstance(named, dict):
            words = part.get("propertyNames", {}).get("enum", ["any"])
            return {word: example(named) for word in words}
        made = {key: example(each) for key, each in part.get("properties", {}).items()}
        return made or dict.fromkeys(part.get("required", ()), "any")
    if kind == "array":
        return [example(part["items"])]
    return {"boolean": True, "integer": 1, "number": 0.5, "string": "any", "null": None}[kind]


def documents(name):
    """A document of each form, whose keys are all there."""
    whole = schema(name)
    head = {key: example(each) for key, each in whole["properties"].items() if key != "data"}
    return [{**head, "data": data} for data in examples(whole["properties"]["data"])]


def places(part, value, path=()):
    """Every value in a document, by its path, with its schema."""
    forms = part["anyOf"] if "properties" not in part and "anyOf" in part else [part]
    for form in forms:
        if value is not None and len(forms) > 1:
            if not jsonschema.Draft202012Validator(form).is_valid(value):
                continue
        yield path, form, value
        if isinstance(value, dict):
            named = form.get("additionalProperties")
            for key, inner in value.items():
                below = form.get("properties", {}).get(key, named)
                if isinstance(below, dict):
                    yield from places(below, inner, (*path, key))
        if isinstance(value, list):
            for number, inner in enumerate(value):
                yield from places(form["items"], inner, (*path, number))


def parts(part, key=""):
    """Every schema in a schema, with the key that it is of and what is said of it."""
    said = part.get("description", "")
    yield key, said, part
    for name, each in part.get("properties", {}).items():
        yield from parts(each, name)
    inner = [
        part[word] for word in ("items", "additionalProperties") if isinstance(part.get(word), dict)
    ]
    for each in (*part.get("anyOf", ()), *inner):
        yield from parts({"description": said, **each}, key)


def changed(document, path, change):
    """A document with something done to the value at a path."""
    made = {"": copy.deepcopy(document)}
    where, key = made, ""
    for step in path:
        where, key = where[key], step
    where[key] = change(where[key])
    return made[""]


def without(key):
    return lambda value: {each: inner for each, inner in value.items() if each != key}


@pytest.fixture(scope="module")
def generator():
    """What makes the schemas."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from generator import json_runs, json_schemas
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return json_runs, json_schemas


def test_there_is_one_for_each_command_and_no_other():
    assert {path.name for path in OUTPUT.iterdir()} == {
        f"{name}.schema.json" for name in (*NAMES, "log")
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema(name):
    content = schema(name)

    jsonschema.Draft202012Validator.check_schema(content)
    assert content["$id"] == f"urn:damonpolicy:output.{name}.v1"
    assert content["properties"]["schema"] == {"const": f"damonpolicy.{name}/1"}
    assert content["title"]
    assert content["description"].endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_each_number_is_said(name):
    numbers = [
        (key, said)
        for key, said, part in parts(schema(name))
        if {"integer", "number"}.intersection(kinds(part))
    ]

    assert numbers
    assert [key for key, said in numbers if not said and not UNITS.fullmatch(key)] == []


def test_the_documents_of_all_commands_are_taken(generator):
    runs, _ = generator
    seen = set()
    for listed in runs.documents().values():
        for document in listed:
            conform(json.dumps(document))
            seen.add(document["schema"])

    assert seen == {f"damonpolicy.{name}/1" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_missing_is_found(name):
    check, removed = validator(name), 0
    for document in documents(name):
        check.validate(document)
        for path, part, value in places(schema(name), document):
            if isinstance(value, dict):
                for key in part.get("required", ()):
                    assert not check.is_valid(changed(document, path, without(key))), (path, key)
                    removed += 1

    assert removed > len(schema(name)["required"])


@pytest.mark.parametrize("name", NAMES)
def test_a_word_that_is_not_listed_is_found(name):
    check, replaced = validator(name), 0
    listing = sum("enum" in each for *_, each in parts(schema(name)))
    for document in documents(name):
        for path, part, _ in places(schema(name), document):
            if "enum" in part:
                other = -1 if part["type"] == "integer" else "no such word"
                assert not check.is_valid(changed(document, path, lambda _, new=other: new)), path
                replaced += 1
            if "enum" in part.get("propertyNames", ()):
                more = changed(document, path, lambda value: {**value, "no such word": 1})
                assert not check.is_valid(more), path

    assert replaced >= listing > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_nobody_knows_is_found(name):
    check = validator(name)
    for document in documents(name):
        for path, part, value in places(schema(name), document):
            if isinstance(value, dict) and part.get("additionalProperties") is False:
                more = changed(document, path, lambda value: {**value, "no_such_key": 1})
                assert not check.is_valid(more), path


@pytest.mark.parametrize("name", NAMES)
def test_another_type_is_found(name):
    check = validator(name)
    for document in documents(name):
        for path, part, value in places(schema(name), document):
            if "type" in part:
                other = "1" if isinstance(value, bool | int | float) else 1
                other = other if value is not None else [1]
                assert not check.is_valid(changed(document, path, lambda _, new=other: new)), path


@pytest.mark.parametrize("name", DATA)
def test_a_command_that_failed_has_no_data(name):
    for document in documents(name):
        validator(name).validate({**document, "data": None})


def test_what_a_newer_kernel_or_another_service_says_is_taken():
    (document,) = documents("status")
    for path, more in (
        (("data", "service"), lambda value: {**value, "more": 1}),
        (("data", "service"), without("held")),
        (("data", "kdamonds", 0, "ops"), lambda _: "new"),
        (("data", "kdamonds", 0, "schemes", 0, "action"), lambda _: "new"),
        (("data", "kdamonds", 0, "schemes", 0, "filters", 0, "type"), lambda _: "new"),
        (("data", "kdamonds", 0, "schemes", 0, "goals", 0, "metric"), lambda _: "new"),
    ):
        validator("status").validate(changed(document, path, more))

    (document,) = documents("report-snapshot")
    path = ("data", "snapshots", 0, "statistics")
    validator("report-snapshot").validate(changed(document, path, lambda _: {**_, "nr_new": 1}))


def test_a_schema_of_no_command_is_found_and_removed(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    left = tmp_path / "gone.schema.json"
    left.write_text("{}")
    monkeypatch.setattr(generate, "OUTPUT", tmp_path)
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    monkeypatch.setattr(generate, "pages", dict)

    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match=r"gone\.schema\.json"):
        generate.main()
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()

    assert not left.exists()
