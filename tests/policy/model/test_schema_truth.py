"""The schema and the reader of each scalar take the same: mutation in both directions.

An editor reads YAML 1.2's core schema or 1.1; what it takes for a number or a truth is here as that,
and as text. `validate` reads the text as it stands in the file. What no pattern can say, the reader
alone does: arithmetic; and JSON does not tell 1 from 1.0.
"""

from __future__ import annotations

import json
import random
from typing import get_args

import jsonschema
import pytest

from damonpolicy.base.units import UnitError
from damonpolicy.policy.model import modules, quotas, scalars, sources, targets, tuning
from docs.generator.policy_schema import policy_schema

MODULES = (scalars, modules, quotas, sources, targets, tuning)
KINDS = ("SizeLimit", "TimeLimit", "RatioText", "BytesOrAll", "Factor", "KsmFile", "Cgroup", "Cgroups",
         "Amount", "Text", "Name", "Flag", "Count", "Bytes", "Duration", "Percent", "Address", "Cpus", "Node",
         "Pid", "Weight", "AgeText", "RateText")  # fmt: skip
SEEDS = {
    "SizeLimit": ["unlimited", "128MiB", "0B", "0.0 MiB"],
    "TimeLimit": ["unlimited", "10ms", "0ms", "0h 5m"],
    "RatioText": ["1/10", "0/1", "10/1"],
    "BytesOrAll": ["unlimited", "0", "5MiB", 0],
    "Factor": ["1", "1.5", 2, 0.5, "0"],
    "KsmFile": ["pages_sharing"],
    "Cgroup": ["/", "/a", "/a/b", "/a b"],
    "Cgroups": ["/", "/a b", "/system.slice/docker-*.scope", "/a?/[ab]/b", "/*"],
    "Amount": ["0", "12", "5MiB", 7],
    "Text": ["a", "x y", 5, True],
    "Name": ["a", "a.b-c_1", "1", 1, "x" * 63],
    "Flag": ["true", "false", True, False],
    "Count": ["0", "12", 7, 4294967295],
    "Bytes": ["0", "5B", "1.5GiB", "200 MiB", 0, "16383PiB"],
    "Duration": ["0", "5ms", "1h 30m", "1.5 s", "30m1h", "1d 2h 3m 4s 5ms 6us", "1h 05m", 0],
    "Percent": ["0", "5%", "99.5 %", "100%", "100.0%", 0],
    "Address": ["0", "0x10", "4096", "4GiB", 4096, "0XfF"],
    "Cpus": ["0", "0-3", "0-3,8", "1, 2", 3, "3-1"],
    "Node": ["0", "1023", 5],
    "Pid": ["1", "811", 4194304, 811],
    "Weight": ["0", "1000", 7],
    "AgeText": ["0", "2m", "20 aggregations", "1 aggregation", 0],
    "RateText": ["0", "5%", "5 samples", "1 sample", "100%", 0],
}
STRANGE = ["", " ", "-1", "+1", "1.5", "1e3", "01", "00", "1_000", "٣", "5m s", "101%", "100.1%", "yes", "on",
           "True", "TRUE", "null", "~", "0x", "0xg", "0,", ",0", "0--1", "1024", "4194305", "1001", "4294967296",
           "18446744073709551615", "18446744073709551616", "9" * 25, -1, 1.5, 1024, 1001, 4194305,
           2**32, 2**64, "5 ms ", " 5ms", "\t5ms", "5ms\n", "5  ms", "1h30m", "1h 30m ", "1h  30m", "1m 1h", "5ms 5ms",
           "0ms", "0 ms", "00ms", "1.ms", ".5ms", "1.0us", "0.5us", "1.5us", "0B", "0.5B", "1.2B", "1KB", "1K", "5 B",
           "5%%", "%", "5 samples ", "5  samples", "1.5 samples", "-5 samples", "0 aggregations", "a\0", "a\nb",
           "x" * 64, "-a", "a b", "é", "16384PiB", "99999999d", "213503982d", "1 aggregations",
           "010%", "00.5%", "05.5%", "0100%", "01s", "00s", "0.5s", "01h 05m", "00.5h", "01MiB", "00B", "0.5MiB", "01.5GiB",
           "05 samples", "00 aggregations", "0/010", "01/2", "0x01", "01-02", "01,2", "/a/..", "/../a", "/a*/..", "/..*",
           "/[", "/a]", "a*", "*", "/a/*\n", "/*\0", "01*"]  # fmt: skip


def battery(kind):
    """Return values that are right, mutated, and strange."""
    chance = random.Random(f"schema/{kind}")
    made = [*SEEDS[kind], *STRANGE, *(each for seeds in SEEDS.values() for each in seeds)]
    for seed in SEEDS[kind]:
        for _ in range(60):
            text = list(str(seed))
            for _ in range(chance.randint(1, 2)):
                at = chance.randrange(len(text) + 1)
                what = chance.choice("0159 .-,%xXmsKiBhd\n٣")
                match chance.randrange(3):
                    case 0:
                        text.insert(at, what)
                    case 1 if at < len(text):
                        text[at] = what
                    case _ if at < len(text):
                        del text[at]
            made.append("".join(text))
    return made


def where(kind):
    """Return an annotated type by its name, wherever it stands."""
    return next(vars(each)[kind] for each in MODULES if kind in vars(each))


def as_written(value):
    """Return the text that stands in a file where an editor sees a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


ARITHMETIC = ("is not a whole number of", "is out of range (64 bits)", "goes backwards")


def refusal(kind, value):
    """Return why a reader refuses a value, or nothing."""
    reader = next(each for each in get_args(where(kind)) if hasattr(each, "func"))
    try:
        reader.func(as_written(value))
    except UnitError as error:
        return str(error.__cause__ or error)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_schema_and_reader_take_the_same(kind):
    schema = next(
        each for each in get_args(where(kind)) if hasattr(each, "json_schema")
    ).json_schema
    check = jsonschema.Draft202012Validator(schema)
    differ = []
    for value in battery(kind):
        why = refusal(kind, value)
        if check.is_valid(value) == bool(why) and not any(each in why for each in ARITHMETIC):
            differ.append((value, why or "the reader takes it"))

    assert differ == []


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("a", True),
        ("_a1", True),
        ("1a", False),
        ("a-b", False),
        ("é", False),
        ("", False),
        ("a\n", False),
    ],
)
def test_schema_and_reader_take_the_same_names_of_variables(name, right, tmp_path, cli):
    document = {"version": 1, "name": "p", "vars": {name: "x"}, "kdamonds": [
        {"name": "k", "ops": "paddr", "targets": [{"system_ram": True}]}
    ]}  # fmt: skip
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(document))

    assert jsonschema.Draft202012Validator(policy_schema()).is_valid(document) == right
    assert (cli("validate", path).code == 0) == right
    document["vars"] = {}
    document["kdamonds"][0] |= {
        "for_each": {name: ["x"]},
        "name": f"k{{{{ {name} }}}}" if right else "k",
    }
    path.write_text(json.dumps(document))
    assert jsonschema.Draft202012Validator(policy_schema()).is_valid(document) == right
    assert (cli("validate", path).code == 0) == right
