"""Build an HTML site of the Markdown in this repository: `python docs/site.py`.

It is in build/site. Every page is where it is in the repository, with all that pages link to, so
that the same links hold. mkdocs ends with an error for any warning, a broken link included.
"""  # noqa: INP001 — a script, not a package

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build/pages"
LINKED = (
    "docs",
    "policies",
    "schemas",
    "systemd",
    "tests/guest/README.md",
    "changelog.d/README.md",
    "LICENSE",
)
LEFT_OUT = shutil.ignore_patterns("*.py", "texts", "generator", "__pycache__")


def gather() -> None:
    """Copy all pages, and what they link to."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for name in (*LINKED, *(page.name for page in ROOT.glob("*.md"))):
        source, target = ROOT / name, PAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFT_OUT)
        else:
            shutil.copy(source, target)


def main() -> int:
    """Build the site; return mkdocs' exit code."""
    gather()
    command = [sys.executable, "-m", "mkdocs", "build"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
