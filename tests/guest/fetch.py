"""Get the tools and the kernels, once, into a cache directory outside the repository.

    python -m tests.guest.fetch [--refresh] [SERIES...]

prints the directory of each kernel. The cache is ``$DAMONPOLICY_CACHE``, or
``~/.cache/damonpolicy/kernels``. A directory in it appears whole, by a rename, or not at
all; parallel runs wait for one another. What is there is used without the network.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import image, kernels, tools
from .apt import Apt
from .errors import Unavailable, tail

__all__ = ("PEER", "cache", "get_kernels", "get_peer", "get_tools", "main")

PEER = "damo==3.4.3"
"""The tool whose configurations `import` has to understand; it runs in guests only."""


def cache() -> Path:
    """Return the directory that holds what was fetched."""
    named = os.environ.get("DAMONPOLICY_CACHE")
    path = Path(named) if named else Path.home() / ".cache/damonpolicy/kernels"
    return path.absolute()


def get_tools() -> tools.Tools:
    """Return our own set of tools, the system's if it is good enough, or fetch ours."""
    return _cached_tools() or tools.system() or _fetch_tools()


def get_kernels(series: Sequence[str], *, refresh: bool = False) -> dict[str, Path]:
    """Return the directory of the kernel of each series, fetching what is missing.

    That is the observed one as long as there is one (`kernels.preference`). With ``refresh`` the
    mirror is asked for the newest, even where the cache has a kernel of the series.
    """
    for each in series:
        kernels.check_known(each)
    have = {} if refresh else {each: path for each in series if (path := _cached(each))}
    missing = [each for each in series if each not in have]
    if missing:
        programs = get_tools()
        with _locked() as work:
            apt = _apt(cache())
            for each in missing:
                # Another run may have brought it while we waited for the lock.
                path = None if refresh else _cached(each)
                have[each] = path or _fetch_kernel(apt, each, programs, work, newest=refresh)
    return {each: have[each] for each in series}


def get_peer() -> Path:
    """Return the directory that damo is installed in, fetching it from PyPI if it is missing."""
    home = cache() / PEER.replace("==", "-")
    if home.exists():
        return home
    with _locked() as work:
        if not home.exists():
            _say(f"fetching {PEER}")
            done = subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                 "--target", work / "peer", PEER],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise Unavailable(f"{PEER} cannot be installed: {tail(done.stderr, 3)}")
            (work / "peer").rename(home)
    return home


def _cached_tools() -> tools.Tools | None:
    found = sorted((cache() / "tools").glob("qemu-*"))
    return tools.own(found[-1]) if found else None


def _cached(series: str) -> Path | None:
    found = [
        path
        for path in (cache() / "releases").glob("*")
        if kernels.series_of(path.name) == series and (path / image.ELF).exists()
    ]
    return max(found, key=lambda path: kernels.preference(path.name), default=None)


@contextmanager
def _locked() -> Iterator[Path]:
    """Hold the cache's lock and give a directory to work in, on the cache's file system.

    What a killed run left is in that directory too: the next holder of the lock clears it.
    """
    home = cache()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("w", encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"the cache {home} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another run to fetch")
            fcntl.flock(lock, fcntl.LOCK_EX)
        work = home / "unfinished"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


@functools.cache
def _apt(home: Path) -> Apt:
    """Return our apt with new lists; one update is enough for a run."""
    _say("asking apt for the lists of packages")
    apt = Apt(home / "apt", kernels.SUITES)
    apt.update()
    return apt


def _fetch_tools() -> tools.Tools:
    with _locked() as work:
        present = _cached_tools()
        if present:
            return present
        apt = _apt(cache())
        packages = apt.closure(tools.SUITE, tools.PACKAGES)
        _say(f"fetching QEMU and what it needs: {len(packages)} packages, about 45 MB")
        tree = work / "tree"
        _extract(apt.download(packages, work / "debs"), tree)
        tools.assemble(tree, work / "set")
        qemu = next(word for word in packages if word.startswith("qemu-system-x86="))
        home = cache() / "tools" / f"qemu-{qemu.rpartition('=')[2].rpartition(':')[2]}"
        home.parent.mkdir(exist_ok=True)
        (work / "set").rename(home)
        return tools.own(home)


def _fetch_kernel(
    apt: Apt, series: str, programs: tools.Tools, work: Path, *, newest: bool
) -> Path:
    refusal = Unavailable(f"kernel {series}: none found")
    for package in kernels.candidates(apt, series, newest=newest):
        home = cache() / "releases" / package.release
        if home.exists():
            return home
        _say(f"fetching {' '.join(package.packages)}")
        here = Path(tempfile.mkdtemp(dir=work))
        try:
            debs = apt.download(package.packages, here / "debs")
            _extract(debs, here / package.release)
            image.unpack(here / package.release, programs)
        except Unavailable as error:
            # The lists may be newer or older than the pool: the one before may be there.
            _say(f"{error}")
            refusal = error
            continue
        home.parent.mkdir(exist_ok=True)
        (here / package.release).rename(home)
        return home
    raise refusal


def _extract(debs: Sequence[Path], into: Path) -> None:
    into.mkdir()
    for deb in debs:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as pipe:
            done = subprocess.run(
                ["tar", "--extract", "--no-same-owner", f"--directory={into}",
                 "--exclude=./usr/share/doc", "--exclude=./usr/share/bug"],
                stdin=pipe.stdout, capture_output=True, text=True, check=False,
            )  # fmt: skip
        if done.returncode or pipe.returncode:
            raise Unavailable(f"{deb.name} cannot be extracted: {tail(done.stderr, 3)}")


def _say(text: str) -> None:
    print(f"tests.guest.fetch: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch and print directories; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.fetch")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernels")
    parser.add_argument("series", nargs="*", default=list(kernels.REQUIRED), metavar="SERIES")
    chosen = parser.parse_args(arguments)
    try:
        get_tools()
        found = get_kernels(chosen.series, refresh=chosen.refresh)
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in found.values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
