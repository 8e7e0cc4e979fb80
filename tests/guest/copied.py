"""Copies of a few files of a machine, in a directory."""

from __future__ import annotations

from pathlib import Path

from damonpolicy.kernel.system.machine import LiveMachine


def copied(directory: Path, files: dict[str, str]) -> LiveMachine:
    """Return a machine with these files, by absolute path; `-> PATH` makes a symbolic link."""
    for path, text in files.items():
        place = directory / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text.removeprefix("-> "))
        else:
            place.write_text(text)
    return LiveMachine(str(directory))
