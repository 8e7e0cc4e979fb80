"""Every user mistake has a folder: the policy, the expected findings, and the whole stderr.

`expect.toml` is written by hand: the command, the exit code, and code, line and column of each
finding. `stderr.txt` is compared in full; `DAMONPOLICY_UPDATE_GOLDEN=1` rewrites it.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/expect.toml"))
PLACE = re.compile(
    r"^(?:(\S+):(\d+):(\d+): )?(error|warning|note)\[(DP\d{4})\]: (.*)$", re.MULTILINE
)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_mistake(case, cli, tmp_path):
    expected = tomllib.loads((case / "expect.toml").read_text())
    for source in case.iterdir():
        if source.name not in ("expect.toml", "stderr.txt"):
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tmp_path / source.name)
    for before in expected.get("before", []):
        assert cli(*before).code == 0

    outcome = cli(*expected["command"])

    assert expected["exit"] == outcome.code, outcome.err
    found = [
        {"code": code, "line": int(line or 0), "column": int(column or 0)}
        for _, line, column, kind, code, _ in PLACE.findall(outcome.err)
        if kind == expected.get("kind", "error")
    ]
    assert expected["finding"] == found
    assert "Traceback" not in outcome.err
    golden = case / "stderr.txt"
    text = outcome.err.replace(str(tmp_path), "TMP")
    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert golden.read_text() == text


def test_there_are_enough_mistakes():
    assert len(CASES) >= 60


def test_messages_have_one_voice():
    hints = 0
    for case in CASES:
        text = (case / "stderr.txt").read_text()
        for message in (found[5] for found in PLACE.findall(text)):
            assert not message.endswith("."), (case.name, message)
            assert message[0].islower() or not message[0].isalpha(), (case.name, message)
        hints += "hint: " in text

    assert hints >= 0.9 * len(CASES)
