"""Print constraints for pip: the lowest version of each library that pyproject.toml allows.

python tests/lowest.py > constraints.txt
pip install --constraint constraints.txt --group test --editable .

With --all: print the libraries of the group `test`, as they stand there.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_LOWEST = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9][0-9.]*)")


def groups(text: str) -> list[list[str]]:
    """Return all lists of libraries in pyproject.toml: our own, extras, and for tests."""
    tables = tomllib.loads(text)
    project = tables["project"]
    extras = project["optional-dependencies"].values()
    return [project["dependencies"], *extras, tables["dependency-groups"]["test"]]


def constraints(text: str) -> Iterator[str]:
    """Yield a line for each library that has a lowest version, in whichever list it is."""
    for group in groups(text):
        for each in group:
            if found := _LOWEST.match(each):
                yield f"{found['name']}=={found['version']}"


if __name__ == "__main__":
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    text = file.read_text("utf-8")
    test = tomllib.loads(text)["dependency-groups"]["test"]
    others = (each for each in test if not each.startswith("damonpolicy"))
    print(*(others if "--all" in sys.argv else constraints(text)), sep="\n")
