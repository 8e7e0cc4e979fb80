"""Every page, typed into a new root shell as it stands: the real kernel stays as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS, LiveMachine, read_or

from .policy import look, run, shipped, state

_ROOT = Path(__file__).parents[3]
_PAGES = [
    *(_ROOT / name for name in ("README.md", "docs/tutorial.md")),
    *sorted((_ROOT / "docs/how-to").glob("*.md")),
    *sorted((_ROOT / "docs/explanation").glob("*.md")),
]
_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BESIDE = ("/sys/kernel/mm/ksm", "/sys/kernel/mm/transparent_hugepage", "/proc/sys/vm",
           "/sys/module/damon_stat/parameters", "/sys/module/damon_reclaim/parameters",
           "/sys/module/damon_lru_sort/parameters")  # fmt: skip
_MOVES = ("compact_memory", "drop_caches", "stat_refresh", "memory_idle_ms_percentiles",
          "estimated_memory_bandwidth", "pages_", "full_scans", "general_profit", "zero_pages",
          "ksm_", "aggr_interval_us")  # fmt: skip
"""Files that only tell, or that cannot be read."""

pytestmark = [pytest.mark.long, pytest.mark.once]


def settings() -> dict[str, str]:
    """Return what the kernel's files hold beside DAMON's."""
    return {
        str(path): read_or(LiveMachine(), str(path))
        for directory in _BESIDE
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file() and "stats" not in path.parts and not any(m in path.name for m in _MOVES)
    }


def lines(page: Path, place: Path) -> list[str]:
    """Write the files of a page into a directory; return what is typed, in its order."""
    found = []
    for kind, name, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if name:
            (place / name).write_text(text, encoding="utf-8")
        if kind == "console":
            found += [each[2:] for each in text.splitlines() if each.startswith("$ ")]
    return found


@pytest.fixture
def alive() -> Iterator[None]:
    """A kdamond of ours runs, and its state is in the places of a host."""
    assert run("apply", *shipped("proactive-reclaim")).code == 0
    yield
    assert run("remove", "proactive-reclaim").code == 0


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_a_page_leaves_the_kernel_alone(page: Path, tmp_path: Path, alive: None) -> None:
    typed = lines(page, tmp_path)
    if not typed:
        return
    program = tmp_path / "bin" / "damonpolicy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m damonpolicy "$@"\n', encoding="ascii")
    program.chmod(0o755)
    environment = {
        "PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, *sys.path))),
        "LANG": "C.UTF-8",
    }
    before, beside, pid = look(), settings(), state()["kdamonds"][0]["pid"]

    done = subprocess.run(
        ["sh"], input="\n".join(typed) + "\n", cwd=tmp_path, env=environment, text=True,
        capture_output=True, timeout=550, check=False,
    )  # fmt: skip

    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert look() == before
    assert settings() == beside
    machine = LiveMachine()
    assert machine.read(f"{KDAMONDS}/0/pid").strip() == str(pid)
    assert machine.read(f"{KDAMONDS}/0/state").strip() == "on"
