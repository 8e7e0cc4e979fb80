"""Print constraints for pip: the lowest version of each library that pyproject.toml allows.

python tests/lowest.py > constraints.txt
pip install --constraint constraints.txt --editable '.[test]'
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

_LOWEST = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9][0-9.]*)")


def constraints(text: str) -> Iterator[str]:
    """Yield a line for each library that has a lowest version, in whichever list it is."""
    project = tomllib.loads(text)["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        for each in group:
            if found := _LOWEST.match(each):
                yield f"{found['name']}=={found['version']}"


if __name__ == "__main__":
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    print(*constraints(file.read_text("utf-8")), sep="\n")
