"""The JSON Schema for editors says what the models say."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from hypothesis import given, settings

from docs.generator import policy_schema as made
from tests.property.strategies import documents
from tests.world import APPLIES, KERNELS, ROOT, SHIPPED

GOLDEN = sorted((ROOT / "tests/golden").glob("*/*.yaml"))
SCHEMA = made.policy_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def minimal(**kdamond):
    made = {"name": "k", "ops": "paddr", "targets": [{"system_ram": True}], **kdamond}
    return {"version": 1, "name": "p", "kdamonds": [made]}


def scheme(**more):
    return minimal(schemes=[{"name": "s", "action": "stat", **more}])


def test_the_file_is_what_the_models_say():
    path = ROOT / "schemas/policy.v1.schema.json"
    assert made.text() == path.read_text(), "run `python docs/generate.py`"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_field_is_described():
    objects = {"Policy": SCHEMA, **SCHEMA["$defs"]}
    silent = [
        f"{name}.{field}"
        for name, each in objects.items()
        for field, part in each["properties"].items()
        if not part.get("description", "").endswith(".")
    ]
    assert silent == []
    assert all("description" in each for each in objects.values())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_policies_of_the_golden_cases_are_valid(path):
    CHECK.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_are_valid(name):
    path = ROOT / f"policies/{name}.yaml"
    CHECK.validate(yaml.safe_load(path.read_text()))

    modeline = path.read_text().splitlines()[0]
    assert modeline.startswith("# yaml-language-server: $schema=")
    assert (path.parent / modeline.partition("=")[2]).resolve().is_file()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_validate_on_every_kernel(name, kernel, cli):
    outcome = cli("validate", ROOT / f"policies/{name}.yaml", "--kernel", f"emulated:{kernel}")

    if name in APPLIES[kernel]:
        assert (outcome.code, outcome.out) == (0, f"`{name}` is valid on emulated:{kernel}\n")
        assert "warning" not in outcome.err
    else:
        assert (outcome.code, outcome.out) == (69, "")
        assert "error[DP0401]" in outcome.err


@pytest.mark.parametrize("kernel", KERNELS)
def test_whatever_is_valid_is_valid_in_editors_too(kernel):
    @settings(max_examples=50)
    @given(documents(kernel))
    def law(document):
        CHECK.validate(document)

    law()


@pytest.mark.parametrize(
    "document",
    [
        scheme(action="{{ action }}", apply_every="{{ every }}", optional="{{ maybe }}"),
        minimal(ops="{{ ops }}", targets=[{"numa_node": "{{ node }}"}], refresh="{{ often }}"),
        minimal(for_each={"node": "all"}, name="k{{ node }}"),
        scheme(for_each={"x": ["1", 2]}, name="s{{ x }}"),
        scheme(filters=[{"allow": "{{ what }}"}], quota="{{ quota }}"),
        scheme(access_pattern={"age": {"min": "20 aggregations", "max": 0}}),
        scheme(quota={"size": 0, "time": "1.5 ms", "every": "1h 30m"}),
        minimal(accesses={"cpus": 3}),
        minimal(accesses={"cpus": {"numa_node": 1}, "threads": ["1", 2]}),
    ],
)
def test_what_the_language_takes_is_valid(document):
    CHECK.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": 2, "name": "p"},
        minimal(ops="padr"),
        minimal(opps="paddr"),
        minimal(paused="yes"),
        minimal(paused=1),
        minimal(refresh="5"),
        minimal(refresh=5),
        minimal(addr_unit=-1),
        minimal(addr_unit=1.5),
        minimal(targets={"system_ram": True}),
        minimal(for_each={"a": ["1"], "b": ["2"]}),
        scheme(action="pageot"),
        scheme(access_pattern={"access_rate": {"max": 5}}),
        scheme(access_pattern={"size": {"min": "5MB"}}),
        scheme(quota="unlimitd"),
        scheme(quota={"weights": {"size": -1}}),
        scheme(filters=[{"allow": "anonn"}]),
        scheme(filters=[{"allow": {"nott": "anon"}}]),
        scheme(to=[{"weight": 1}]),
    ],
    ids=json.dumps,
)
def test_mistakes_are_shown_while_they_are_typed(document):
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate(document)


def test_the_golden_cases_are_found():
    assert len(GOLDEN) > 15
