"""The other Pythons on which tests are repeated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pythons import KNOWN, NOT_TRIED, found, newer, newest_named, oldest
from tests.world import ROOT

OTHERS = [((3, 11, 7), "/a"), ((3, 13, 0), "/c"), ((3, 13, 2), "/d"), ((3, 12, 1), "/b")]
NAMED = newest_named((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with no Python but those that are put there: by name, and by pyenv."""
    names, versions = tmp_path / "bin", tmp_path / "pyenv/versions"
    names.mkdir()
    versions.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(names))
    monkeypatch.setenv("PYENV_ROOT", str(versions.parent))

    def put(place, script):
        path = versions / place / "bin/python" if place[0] == "3" else names / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return put


def test_every_one_that_works_is_found(machine):
    whole = machine("python3.14", "echo 3 14 1")
    of_pyenv = machine("3.12.7", "echo 3 12 7")
    machine("python3.13", "exit 1")  # without what makes an environment
    machine("python3.15", "echo")  # a preview
    machine("python3.10", "echo 3 10 2")

    assert list(found()) == [((3, 12, 7), of_pyenv), ((3, 14, 1), whole)]


def test_a_name_that_leads_nowhere_is_none(machine):
    path = Path(machine("3.14.0", ""))
    path.unlink()
    path.symlink_to("/nowhere")

    assert list(found()) == []


def test_this_one_tells_its_version(monkeypatch, tmp_path):
    ours = sys.version_info
    (tmp_path / f"python3.{ours[1]}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    seen = [version for version, _ in found([ours[1]])]

    assert seen == ([ours[:3]] if ours.releaselevel == "final" else [])


@pytest.mark.parametrize(
    ("running", "others", "path", "said", "status"),
    [
        ((3, 11, 2), OTHERS, "/d", "Python 3.13.2", 0),
        ((3, 12, 0), OTHERS, "/d", "Python 3.13.2", 0),
        ((3, 13, 0), OTHERS, "", "Python 3.13.0 of the other parts is the newest", 0),
        (
            (3, 11, 2),
            OTHERS[:1],
            "",
            "no Python newer than 3.11.2 of the other parts: none of 3.12 to 3.15",
            NOT_TRIED,
        ),
    ],
)
def test_the_newest_is_taken_and_said(running, others, path, said, status):
    assert newer(running, others, 13) == (path, said, status)


def test_the_oldest_is_taken_and_said():
    assert oldest((3, 13, 0), "/own", OTHERS) == ("/a", "Python 3.11.7")
    assert oldest((3, 11, 9), "/own", OTHERS) == ("/own", "Python 3.11.9")


def test_every_python_that_we_name_is_looked_for():
    assert {11, NAMED} <= set(KNOWN)
