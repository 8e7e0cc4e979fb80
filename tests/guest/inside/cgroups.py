"""Control groups for tests, with the controllers that matter to DAMON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("ROOT", "cgroup")

ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = "+memory +cpuset +cpu"
_DRAIN_SECONDS = 10


@contextmanager
def cgroup(path: str, **settings: str | int) -> Iterator[Path]:
    """Make a control group and what is missing above it; end all in it and remove it after.

    ``settings`` are files of it: ``memory_max=64 << 20`` is written to ``memory.max``.
    """
    made = []
    here = ROOT
    for name in path.strip("/").split("/"):
        (here / "cgroup.subtree_control").write_text(_CONTROLLERS, encoding="ascii")
        here /= name
        if not here.exists():
            here.mkdir()
            made.append(here)
    try:
        for key, value in settings.items():
            (here / key.replace("_", ".", 1)).write_text(str(value), encoding="ascii")
        yield here
    finally:
        for each in reversed(made):
            _remove(each)


def _remove(group: Path) -> None:
    (group / "cgroup.kill").write_text("1", encoding="ascii")
    deadline = time.monotonic() + _DRAIN_SECONDS
    while "populated 1" in (group / "cgroup.events").read_text(encoding="ascii"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{group} still has processes")
        time.sleep(0.01)
    for child in group.iterdir():
        if child.is_dir():
            _remove(child)
    group.rmdir()
