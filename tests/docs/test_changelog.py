"""Fragments of the changelog are well-formed, and are assembled without a loss."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

spec = importlib.util.spec_from_file_location("changelog", ROOT / "docs/changelog.py")
changelog = importlib.util.module_from_spec(spec)
spec.loader.exec_module(changelog)

BEFORE = """\
# Changelog

## [Unreleased]

### Added

- One.

### Fixed

- Two.

### Not yet

- Three.

## [0.1.0] - 2026-01-01

### Added

- Zero.
"""


def test_fragments_are_well_formed():
    assert list(changelog.problems(changelog.fragments())) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.improved.md", "It is better.\n"),
        ("A b.fixed.md", "It is better.\n"),
        ("a.md", "It is better.\n"),
        ("a.fixed.md", "It is better\n"),
        ("a.fixed.md", "it is better.\n"),
        ("a.fixed.md", "It is better.\n\nMuch.\n"),
        ("a.fixed.md", "- It is better.\n"),
        ("a.fixed.md", "It is [better](docs/nowhere.md).\n"),
        ("a.fixed.md", ""),
    ],
)
def test_a_wrong_fragment_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)

    (problem,) = changelog.problems(changelog.fragments(tmp_path))

    assert problem.startswith(f"{name}: ")


def test_items_go_to_the_end_of_their_section_of_the_unreleased_changes():
    added = {"Added": ["Four.\n", "Five.\n"], "Fixed": ["Six.\n"], "Security": ["Seven.\n"]}

    after = changelog.assembled(BEFORE, added)

    wanted = BEFORE.replace("- One.\n", "- One.\n- Four.\n- Five.\n")
    wanted = wanted.replace("- Two.\n", "- Two.\n- Six.\n")
    assert after == wanted.replace("- Three.\n", "- Three.\n\n### Security\n\n- Seven.\n")


def test_nothing_changes_without_fragments():
    text = changelog.CHANGELOG.read_text(encoding="utf-8")

    assert changelog.assembled(text, {}) == text


def test_a_release_moves_all_fragments_below_its_heading(tmp_path):
    for name in ("docs/changelog.py", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    directory = tmp_path / "changelog.d"
    directory.mkdir()
    (directory / "README.md").write_text("The form.\n")
    (directory / "one.fixed.md").write_text("One thing works.\n")
    command = [sys.executable, tmp_path / "docs/changelog.py"]

    assert subprocess.run([*command, "soon"], capture_output=True, check=False).returncode == 1
    assert subprocess.run([*command, "--check"], check=False).returncode == 0
    subprocess.run([*command, "7.0.0"], check=True)

    text = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## [Unreleased]") < text.index("## [7.0.0] - 20")
    assert text.count("\n- One thing works.\n") == 1
    assert [each.name for each in directory.iterdir()] == ["README.md"]
    before = changelog.CHANGELOG.read_text(encoding="utf-8").splitlines()
    assert [line for line in before if line not in text.splitlines()] == []
