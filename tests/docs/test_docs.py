"""The documents are correct: commands and their output, links, codes, generated pages."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from damonpolicy.cli.main import COMMANDS, find_command
from tests.conftest import ROOT, run_cli
from tests.docs.console import BLOCK, Session, matches, play

DOCS = ROOT / "docs"
PAGES = [
    DOCS / "tutorial.md",
    *sorted(DOCS.glob("how-to/*.md")),
    *sorted(DOCS.glob("explanation/*.md")),
]
EVERY = [
    *sorted(DOCS.rglob("*.md")),
    *(path for path in map(ROOT.joinpath, ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
                                           "changelog.d/README.md"))
      if path.is_file()),
]  # fmt: skip
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
CODE = re.compile(r"DP\d{4}")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_print_what_the_page_shows(page, cli, tmp_path, monkeypatch):
    monkeypatch.delenv("DAMONPOLICY_KERNEL", raising=False)  # each page says which it takes
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    text = page.read_text(encoding="utf-8")

    real, wrong = play(text, Session(directory, monkeypatch))

    if os.environ.get("DAMONPOLICY_UPDATE_GOLDEN"):
        page.write_text(real, encoding="utf-8")
    assert not wrong, "\n\n".join(wrong)


def test_the_mistake_in_the_readme_is_shown_as_it_is(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        (ROOT / "README.md").read_text(encoding="utf-8").replace("age: {min: 2m}", "age: {min: 2}")
    )
    shown = text.replace("```\n\nWhere the kernel", "$ echo $?\n65\n```\n\nWhere the kernel")

    _, wrong = play(shown, Session(tmp_path, monkeypatch))

    assert not wrong, "\n\n".join(wrong)


def test_a_page_that_is_wrong_is_found(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DAMONPOLICY_KERNEL", "emulated:7.3")
    session = Session(tmp_path, monkeypatch)
    page = (
        "```console\n$ damonpolicy status\nnothing of the kind\n$ damonpolicy rollback 9\n…\n```\n"
    )

    real, wrong = play(page, session)

    assert len(wrong) == 2
    assert "no policy is applied" in real
    assert "exit code 64 is not shown" in wrong[1]


def test_an_ellipsis_stands_for_lines_and_nothing_else():
    assert matches(["a", "…", "d"], ["a", "b", "c", "d"])
    assert matches(["…"], [])
    assert not matches(["a", "…", "d"], ["a", "b"])
    assert not matches(["a…"], ["ab"])


def shell_lines():
    """Commands in blocks that are not run, because they need a real machine."""
    for page in EVERY:
        for kind, _, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "sh":
                for line in text.replace("\\\n", " ").splitlines():
                    for part in re.split(r"&&|\||;", line):
                        words = shlex.split(part, comments=True)
                        if "damonpolicy" in words:
                            yield name(page), words[words.index("damonpolicy") + 1 :]


@pytest.mark.parametrize(("page", "words"), list(shell_lines()))
def test_commands_that_are_not_run_exist_with_their_options(page, words):
    chosen = next((word for word in words if word in COMMANDS), None)
    if chosen is None:
        assert words in (["--help"], ["--version"]), (page, words)
        return
    command = find_command(chosen)
    known = {option for each in command.params for option in each.opts}
    options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert not options - known - {"--help"}, (page, words)


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from headings."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_files_of_the_package_are_where_a_page_says(page):
    if page.name == "CHANGELOG.md":  # which is about former versions, too
        return
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", page.read_text(encoding="utf-8"))
    rooms = [ROOT, ROOT / "damonpolicy"]

    assert [each for each in named if not any((room / each).exists() for room in rooms)] == []


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.is_relative_to(DOCS):
                waiting.append(there)

    assert set(DOCS.rglob("*.md")) == reached


def test_generated_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_every_code_is_explained_and_no_other():
    used = {
        code
        for path in (ROOT / "damonpolicy").rglob("*.py")
        for code in CODE.findall(path.read_text(encoding="utf-8"))
    }
    page = (DOCS / "reference/diagnostics.md").read_text(encoding="utf-8")

    assert used == set(re.findall(r"^### (DP\d{4}): \S", page, re.MULTILINE))
    for other in EVERY:
        assert set(CODE.findall(other.read_text(encoding="utf-8"))) <= used, other


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_whole_policies_in_pages_are_valid(page, cli, tmp_path):
    for kind, file, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "yaml" and not file and re.search(r"^version: 1$", text, re.MULTILINE):
            (tmp_path / "page.yaml").write_text(text)
            outcome = run_cli("validate", "page.yaml", "--kernel", "emulated:7.3")
            assert outcome.code == 0, outcome.err
