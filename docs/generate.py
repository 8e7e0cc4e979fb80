"""Make the reference pages and the schemas of JSON output from the code.

`python docs/generate.py`, or with `--check` to compare.
"""  # noqa: INP001 — a script, not a package

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
OUTPUT = DOCS.parent / "schemas/output"
sys.path.insert(0, str(DOCS.parent))
os.environ["DAMONPOLICY_FORBID_LIVE"] = os.environ["DAMONPOLICY_NO_CACHE"] = "1"


def pages() -> dict[Path, str]:
    """Return every generated file, by its path."""
    from generator import (
        commands,
        diagnostics,
        json_page,
        json_schemas,
        keys,
        limits,
        log_lines,
        policy_schema,
        tables,
    )

    reference = DOCS / "reference"
    return {
        reference / "keys.md": keys.page(DOCS),
        reference / "commands.md": commands.page(),
        reference / "exit-codes.md": tables.exit_codes(DOCS),
        reference / "diagnostics.md": diagnostics.page(DOCS),
        reference / "features.md": tables.features(DOCS),
        reference / "settings.md": tables.settings(),
        reference / "machine-file.md": tables.machine_file(),
        reference / "json.md": json_page.page(),
        reference / "limits.md": limits.page(DOCS),
        **{OUTPUT / name: text for name, text in json_schemas.schemas().items()},
        OUTPUT / "log.schema.json": log_lines.schema(),
        OUTPUT.parent / "policy.v1.schema.json": policy_schema.text(),
    }


def main() -> None:
    """Write the files, or say which are not what the code says."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: python docs/generate.py [--check]")
    made = pages()
    stale = []
    for path in sorted(
        {*OUTPUT.glob("*.schema.json")} - made.keys()
    ):  # of a command that is no more
        if check:
            stale.append(str(path.relative_to(DOCS.parent)))
        else:
            path.unlink()
    for path, text in made.items():
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path.relative_to(DOCS.parent)))
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit("not up to date: " + ", ".join(stale) + "; run `python docs/generate.py`")


if __name__ == "__main__":
    main()
