"""Write a manual page for each command: `python docs/man.py [DIRECTORY]`, by default build/man."""  # noqa: INP001 — a script, not a package

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))


def main() -> int:
    """Run the command line; see the module's text."""
    from generator.man import pages

    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS.parent / "build/man"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
