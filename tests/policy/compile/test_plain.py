"""Plain files go from a policy to the tree and back, whatever they hold."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.base.units import U32_MAX
from damonpolicy.kernel.damon.schema import ROWS, Row
from damonpolicy.policy.compile import plain
from damonpolicy.policy.compile.plain import plain_files, plain_keys
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.scalars import Duration
from damonpolicy.policy.model.schemes import Scheme
from tests.world import ROOT

SCHEME = "contexts/0/schemes/0"
PLAIN = [each for each in ROWS if each.plain]
KDAMOND = {"name": "k", "ops": "paddr", "targets": [{"system_ram": "true"}]}


def contents(row):
    """Return a strategy for what a file may hold."""
    if row.kind == "bool":
        return st.sampled_from(["Y", "N"])
    if row.kind == "word":
        return st.sampled_from(row.words)
    most = {"permil": 1_000, "us": 1 << 40, "ms": 1 << 30}.get(row.unit, U32_MAX)
    return st.integers(0, most).map(str)


def model(base, data):
    """Return the model of a kdamond or of a scheme with these keys."""
    if base:
        return Scheme.model_validate({"name": "s", "action": "stat", **data})
    return Kdamond.model_validate({**KDAMOND, **data})


def files(base, made):
    """Return what the plain files of a model are to hold."""
    found = {}
    for path, value, _ in plain_files(made, base):
        content = value()
        found[path] = (
            {True: "Y", False: "N"}.get(content)
            if content is True or content is False
            else str(content)
        )
    return found


@pytest.mark.parametrize("base", ["", SCHEME])
@given(data=st.data())
def test_every_tree_says_a_policy_that_says_the_tree(base, data):
    rows = [each for each in PLAIN if each.path.startswith("*/contexts/*/schemes/") == bool(base)]
    tree = {
        path: data.draw(contents(row), label=row.path)
        for row, (path, _, _) in zip(rows, plain_files(model(base, {}), base), strict=True)
    }
    said = {}
    plain_keys(said, tree.get, base)
    texts = texts_of(said)

    assert files(base, model(base, texts)) == tree


def texts_of(data):
    """Return keys as a policy's file has them: texts."""
    if isinstance(data, dict):
        return {key: texts_of(value) for key, value in data.items()}
    return (
        {True: "true", False: "false"}.get(data, str(data)) if isinstance(data, bool) else str(data)
    )


@pytest.mark.parametrize("base", ["", SCHEME])
def test_defaults_say_nothing(base):
    said = {}
    plain_keys(said, lambda _, absent: absent, base)

    assert said == {}


def test_a_new_file_of_the_kernel_is_a_row_and_a_field_of_the_model(monkeypatch):
    class Extended(Scheme):
        made_up: Duration | None = None

    row = Row("*/contexts/*/schemes/*/made_up_ms", "uint", "made_up", "ms", plain=True)
    monkeypatch.setattr(plain, "_SCHEMES", (*plain._SCHEMES, row))
    made = Extended.model_validate({"name": "s", "action": "stat", "made_up": "7s"})
    said = {}
    plain_keys(said, lambda path, absent: "7000" if path.endswith("made_up_ms") else absent, SCHEME)

    assert files(SCHEME, made)[f"{SCHEME}/made_up_ms"] == "7000"
    assert said == {"made_up": "7s"}


def test_shares_are_exact():
    made = model(SCHEME, {"watermarks": {
        "metric": "free_mem_rate", "every": "5s", "high": "50.1%", "mid": "40%", "low": "0%"}})  # fmt: skip

    assert made.watermarks.high == Fraction(501, 1000)
    assert files(SCHEME, made)[f"{SCHEME}/watermarks/high"] == "501"


def test_no_other_module_of_the_compiler_or_of_import_names_a_plain_file():
    policy = ROOT / "damonpolicy" / "policy"
    sources = [
        policy / "compile" / "kdamond.py",
        *(policy / "importer" / f"{name}.py" for name in ("kdamond", "schemes", "filters")),
    ]
    names = {
        "/".join(each.path.split("/")[-2:]) for each in PLAIN if "*" not in each.path.split("/")[-2]
    }
    found = {name for name in names for path in sources if name in path.read_text()}

    assert found == set()
