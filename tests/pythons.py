"""Print the path of another Python of this machine, and on stderr its version and the reason.

python tests/pythons.py newer     # the newest that is newer than the one that runs this
python tests/pythons.py oldest    # the oldest that we allow, even if it runs this

The status is 77 where there is none that is newer, and this one is not the newest that we name.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

KNOWN = range(11, 16)
"""Minor versions that are looked for."""
NOT_TRIED = 77

Version = tuple[int, int, int]
_ASK = "import sys, ensurepip; sys.version_info[3] == 'final' and print(*sys.version_info[:3])"


def found(minors: Iterable[int] = KNOWN) -> Iterator[tuple[Version, str]]:
    """Yield each Python that works, is no preview and could make an environment."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for minor in minors:
        named = shutil.which(f"python3.{minor}")
        versions = glob.glob(f"{glob.escape(pyenv)}/versions/3.{minor}.*/bin/python")
        for path in ([named] if named else []) + sorted(versions):
            if version := _version(path):
                yield version, path


def _version(path: str) -> Version | None:
    try:
        asked = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False)
    except OSError:  # a name may be there and lead nowhere
        return None
    numbers = [int(each) for each in asked.stdout.split()] if asked.returncode == 0 else []
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def newest_named(project: str) -> int:
    """Return the minor version of the newest Python that pyproject.toml says we support."""
    return max(int(each) for each in re.findall(r"Python :: 3\.(\d+)", project))


def newer(
    running: Version, others: Iterable[tuple[Version, str]], named: int
) -> tuple[str, str, int]:
    """Choose the newest; returns its path or nothing, what is to be said, and the status."""
    ours = ".".join(str(each) for each in running)
    better = [each for each in others if each[0][:2] > running[:2]]
    if better:
        version, path = max(better, key=lambda each: each[0])
        return path, f"Python {'.'.join(str(each) for each in version)}", 0
    if running[1] >= named:
        return "", f"Python {ours} of the other parts is the newest", 0
    looked = f"3.{running[1] + 1} to 3.{KNOWN[-1]}"
    return "", f"no Python newer than {ours} of the other parts: none of {looked}", NOT_TRIED


def oldest(running: Version, own: str, others: Iterable[tuple[Version, str]]) -> tuple[str, str]:
    """Choose the oldest; returns its path and what is to be said."""
    older = [each for each in others if each[0][:2] < running[:2]]
    version, path = min(older, default=(running, own))
    return path, f"Python {'.'.join(str(each) for each in version)}"


def main(which: str) -> int:
    """Print the one that is asked for."""
    running: Version = sys.version_info[:3]
    status = 0
    if which == "oldest":
        path, said = oldest(running, sys.executable, found())
    else:
        project = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text("utf-8")
        path, said, status = newer(running, found(), newest_named(project))
    print(said, file=sys.stderr)
    print(path)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
