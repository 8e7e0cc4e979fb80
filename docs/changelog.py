"""Move the fragments of changelog.d/ into CHANGELOG.md: `python docs/changelog.py VERSION`.

They become items of the unreleased changes, which get the version's heading. With `--check`
nothing is moved, and fragments in a wrong form are named. changelog.d/README.md describes the form.
"""  # noqa: INP001 — a script, not a package

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FRAGMENTS = ROOT / "changelog.d"
CHANGELOG = ROOT / "CHANGELOG.md"
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
UNRELEASED = "## [Unreleased]\n"
VERSION = re.compile(r"\d+\.\d+\.\d+")
_NAME = re.compile(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(SECTIONS).lower()})\.md")
_TEXT = re.compile(r"[A-Z`*].*\.\n")


def fragments(directory: Path = FRAGMENTS) -> list[Path]:
    """Return all files of the directory but its README, by name."""
    return sorted(path for path in directory.iterdir() if path.name != "README.md")


def problems(paths: Iterable[Path]) -> Iterator[str]:
    """Yield what is wrong with fragments: their names, their form, links that lead nowhere."""
    for path in paths:
        if not _NAME.fullmatch(path.name):
            yield f"{path.name}: the name is not WORDS.SECTION.md, with one of {SECTIONS}"
        text = path.read_text(encoding="utf-8")
        if not _TEXT.fullmatch(text):
            yield f"{path.name}: it is not one line that begins and ends as a sentence does"
        for target in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", text):
            if "://" not in target and not (ROOT / target).exists():
                yield f"{path.name}: there is no `{target}` at the root of the repository"


def assembled(changelog: str, added: Mapping[str, list[str]]) -> str:
    """Return a changelog with items added at the end of sections of the unreleased changes."""
    before, heading, rest = changelog.partition(UNRELEASED)
    body, next_heading, after = rest.partition("\n## [")
    parts = re.split(r"^(?=### )", body, flags=re.MULTILINE)
    for section in SECTIONS:
        items = "".join(f"- {text.strip()}\n" for text in added.get(section, ()))
        if not items:
            continue
        known = [number for number, part in enumerate(parts) if part.startswith(f"### {section}\n")]
        if known:
            parts[known[0]] = f"{parts[known[0]].rstrip()}\n{items}\n"
        else:
            parts[-1] = f"{parts[-1].rstrip()}\n\n"
            parts.append(f"### {section}\n\n{items}\n")
    text = "".join(parts).rstrip("\n") + "\n"
    return f"{before}{heading}{text}{next_heading}{after}"


def main(arguments: list[str]) -> int:
    """Run the command line; see the module's text."""
    found = fragments()
    wrong = list(problems(found))
    if wrong or arguments == ["--check"]:
        sys.stderr.writelines(f"{each}\n" for each in wrong)
        return bool(wrong)
    if len(arguments) != 1 or not VERSION.fullmatch(arguments[0]):
        sys.exit("usage: python docs/changelog.py --check | VERSION")
    added: dict[str, list[str]] = {}
    for path in found:
        section = path.name.split(".")[1].capitalize()
        added.setdefault(section, []).append(path.read_text(encoding="utf-8"))
    text = assembled(CHANGELOG.read_text(encoding="utf-8"), added)
    today = dt.datetime.now(dt.UTC).date()
    text = text.replace(UNRELEASED, f"{UNRELEASED}\n## [{arguments[0]}] - {today}\n", 1)
    CHANGELOG.write_text(text, encoding="utf-8")
    for path in found:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
