"""QEMU, virtiofsd and the few small programs that the harness needs, as one set.

Our own set comes whole from one Debian release, with its C library, and is run by its own
dynamic loader: nothing is installed, and every machine runs the very same bits. That
matters, because QEMU's emulation is what the kernels run on: 7.2 (Debian 12) miscomputes
so that kernels crash in every third boot; 10.0 showed no failure in hundreds.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import Unavailable, tail

__all__ = (
    "PACKAGES",
    "PROGRAMS",
    "SUITE",
    "Tools",
    "assemble",
    "check_machine",
    "own",
    "system",
)

SUITE = "trixie"
PACKAGES = ("qemu-system-x86", "virtiofsd", "busybox-static", "zstd", "xz-utils")
PROGRAMS = ("bin/qemu-system-x86_64", "libexec/virtiofsd", "bin/busybox", "bin/zstd", "bin/xz")
_OLDEST_QEMU = 10
_LIBRARIES = "lib/x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"


@dataclass(frozen=True, slots=True)
class Tools:
    """How to call each tool: the first words of a command line."""

    qemu: tuple[str, ...]
    virtiofsd: tuple[str, ...]
    zstd: tuple[str, ...]
    xz: tuple[str, ...]
    busybox: Path
    """A file, not a command: a copy of it is the guest's init."""

    def verify(self) -> None:
        """Run each, so that what was got is known to work here."""
        for command in (self.qemu, self.virtiofsd, self.zstd, self.xz, (str(self.busybox),)):
            option = "--help" if command[0] == str(self.busybox) else "--version"
            try:
                done = subprocess.run(
                    [*command, option], capture_output=True, text=True, check=False
                )
            except OSError as error:
                raise Unavailable(f"{command[-1]} cannot be run: {error}") from error
            if done.returncode:
                raise Unavailable(f"{command[-1]} does not run: {tail(done.stderr, 3)}")


def check_machine() -> None:
    """Raise Unavailable where no guest could be booted whatever we fetch."""
    if platform.machine() != "x86_64":
        raise Unavailable(f"guests share this machine's programs: x86_64, not {platform.machine()}")
    for program in ("unshare", "mount", "setpriv"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} (util-linux) is missing")
    if os.geteuid() != 0:
        raise Unavailable("root is needed, to mount / read-only for the guest")
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "--bind", "/", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"no right to mount in a namespace of our own: {done.stderr.strip()}")


def system() -> Tools | None:
    """Return the system's own tools where all are there and QEMU is new enough."""
    qemu = shutil.which("qemu-system-x86_64")
    virtiofsd = Path("/usr/libexec/virtiofsd")
    busybox, zstd, xz = (shutil.which(name) for name in ("busybox", "zstd", "xz"))
    if not (qemu and virtiofsd.exists() and busybox and zstd and xz):
        return None
    done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.", done.stdout)
    if found is None or int(found[1]) < _OLDEST_QEMU:
        return None
    return Tools((qemu,), (str(virtiofsd),), (zstd,), (xz,), Path(busybox))


def own(home: Path) -> Tools:
    """Return the tools of a set that `assemble` made."""
    loader = (str(home / "lib" / _LOADER), "--library-path", str(home / "lib"))
    firmware = ("-L", str(home / "share/qemu"), "-L", str(home / "share/seabios"))
    bin_ = home / "bin"
    return Tools(
        qemu=(*loader, str(bin_ / "qemu-system-x86_64"), *firmware),
        virtiofsd=(*loader, str(bin_ / "virtiofsd")),
        zstd=(*loader, str(bin_ / "zstd")),
        xz=(*loader, str(bin_ / "xz")),
        busybox=bin_ / "busybox",
    )


def assemble(tree: Path, home: Path) -> Tools:
    """Make a set in ``home`` of extracted packages: programs, libraries, firmware."""
    for place in ("bin", "lib", "share"):
        (home / place).mkdir(parents=True)
    for program in PROGRAMS:
        source = tree / "usr" / program
        if not source.exists():
            raise Unavailable(f"{SUITE}: no /usr/{program} in {', '.join(PACKAGES)}")
        shutil.move(source, home / "bin" / source.name)
    for library in (tree / "usr" / _LIBRARIES).glob("*.so*"):
        shutil.move(library, home / "lib" / library.name)
    for data in ("qemu", "seabios"):
        shutil.move(tree / "usr/share" / data, home / "share" / data)
    tools = own(home)
    tools.verify()
    return tools
