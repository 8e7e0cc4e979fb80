"""A table of natural mistakes: the message of each, and a hint that fixes it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.errors.test_errors import CASES

TABLE = tomllib.loads((Path(__file__).parent / "mistakes.toml").read_text())
ERROR = re.compile(r"^(?:policy\.yaml:(\d+):\d+: )?error\[(DP\d{4})\]", re.MULTILINE)
HINT = re.compile(r"^  hint: (.*)$", re.MULTILINE)


def base_of(row):
    base = TABLE["base"][row.get("base", "paddr")]
    lines = f"name: p\nvars: {{{row['vars']}}}\n" if "vars" in row else "name: p\n"
    return base.replace("name: p\n", lines, 1)


def typed(row, wrong):
    """Do what the hint says."""
    if "right" in row:
        return base_of(row).replace(row["old"], row["right"], 1)
    literals = re.findall(r"`([^`]*)`", row["hint"])
    literal = "" if row["hint"].startswith("remove") else literals[0]
    if "before" in row:
        line = row["before"]
        indent = line[: len(line) - len(line.lstrip())]
        return wrong.replace(line, f"{indent}{literal}\n{line}", 1)
    return wrong.replace(
        row.get("over", row["new"]), row.get("typed", "@").replace("@", literal), 1
    )


@pytest.mark.parametrize("row", TABLE["mistake"], ids=lambda row: row["what"])
def test_what_the_hint_says_mends_it(row, cli, tmp_path):
    base = base_of(row)
    assert base.count(row["old"]) >= 1
    wrong = base.replace(row["old"], row["new"], 1)
    kernel = ["--kernel", f"emulated:{row['kernel']}"] if "kernel" in row else []
    policy = tmp_path / "policy.yaml"

    policy.write_text(wrong)
    told = cli("validate", "policy.yaml", *kernel)

    errors, hints = ERROR.findall(told.err), HINT.findall(told.err)
    assert told.code == 65
    assert errors == [(str(row["line"]), row["code"])]
    assert hints[0] == row["hint"]

    policy.write_text(typed(row, wrong))
    mended = cli("validate", "policy.yaml", *kernel)

    assert mended.code == 0, mended.err


@pytest.mark.parametrize("base", TABLE["base"])
def test_what_the_mistakes_are_made_in_is_right(base, cli, tmp_path):
    (tmp_path / "policy.yaml").write_text(TABLE["base"][base])

    assert cli("validate", "policy.yaml", "--kernel", "emulated:7.3").code == 0


def test_there_are_enough_mistakes_and_each_is_another():
    texts = {
        (row.get("base"), row["old"], row["new"], row.get("kernel")) for row in TABLE["mistake"]
    }

    assert len(texts) == len(TABLE["mistake"]) >= 150
    assert len(texts) + len(CASES) >= 400


def test_a_hint_that_says_write_shows_what_is_typed():
    for row in TABLE["mistake"]:
        if row["hint"].startswith("write `") and "right" in row:
            literal = re.findall(r"`([^`]*)`", row["hint"])[0]
            assert literal.strip(":") in row["right"] or "for_each" in literal, row["what"]
