"""Boot a real kernel in QEMU and run one command in it, as root.

The guest's root is this machine's own, read-only, over virtiofs: its Python and packages
are there as they are. `/mnt` is the share, read-write. What the command writes and how it
ends comes back through the share, which survives a power-off that loses a serial port's
last lines. The facts behind the command line are in README.md.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import site
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import fetch, image, mounts
from .errors import GuestDied, GuestError, GuestTimeout, NeverStarted, Unavailable
from .processes import Child, Children, FileShare
from .tools import Tools, check_machine

__all__ = (
    "Guest",
    "GuestDied",
    "GuestError",
    "GuestTimeout",
    "Result",
    "Unavailable",
    "environment",
)

_INIT = Path(__file__).with_name("init.sh")
_STEP = 1000
"""Instructions in a microsecond of the emulator's clock, at the most."""
_HIDDEN = ("/tmp", "/run", "/var/tmp", "/var/lib/damonpolicy", "/dev/shm")
"""Where the guest's init mounts a tmpfs: what is needed from below is bound again."""

_BOOT_SECONDS = 120
"""5 on an idle machine; the rest is for one that runs other things too."""
_GRACE_SECONDS = 10
"""How long a guest that reported, or lost its files, may take to go down."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did in a guest."""

    returncode: int
    output: str
    """Standard output and standard error, as they came."""
    console: str
    """What the kernel said."""
    release: str
    """``uname -r``, asked in the guest."""
    seconds: float
    """From before QEMU's start to after its end."""


def environment(**more: str) -> dict[str, str]:
    """Return the variables that Python needs in a guest to be what it is here, and more."""
    kept = ("LANG", "LC_ALL", "PYENV_VERSION", "PYTHONPATH", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        # The guest's home is another one.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Guest:
    """The description of a machine, which each `run` boots."""

    def __init__(
        self,
        kernel_dir: Path,
        *,
        memory_mib: int = 1024,
        cpus: int = 2,
        numa: bool = False,
        modules: Sequence[str] = (),
        timeout: float = 300,
        share: Path | None = None,
        visible: Sequence[Path] = (),
        append: str = "",
        mips: int = 0,
        tools: Tools | None = None,
    ) -> None:
        """Describe a machine; nothing is started yet.

        ``numa`` splits memory and CPUs into two nodes. ``timeout`` is the command's, in
        seconds, the boot apart. ``share`` is seen at /mnt (a directory of its own if not
        given). ``visible`` are paths that the command needs beside the Python that runs
        this. ``append`` goes to the end of the kernel's command line. With ``mips`` the
        guest's clock counts instructions, so many millions a second or a few more (up to 1000,
        by powers of two): what is measured does not depend on what else this machine does.
        Beyond 1000, an emulator's least step, the kernel is given another frequency of its
        time stamp counter, so that its second takes longer.
        """
        if numa and cpus % 2:
            raise ValueError("two nodes need an even number of CPUs")
        self.kernel_dir = kernel_dir.absolute()
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.numa = numa
        self.modules = tuple(modules)
        self.timeout = timeout
        self.share = share
        self.visible = tuple(visible)
        self.append = append
        self.shift = max((_STEP // mips).bit_length() - 1, 0) if mips else -1
        if mips > _STEP:
            self.append += f" tsc=reliable clocksource=tsc tsc_early_khz={mips}000"
        self._tools = tools

    def run(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, cwd: Path | None = None
    ) -> Result:
        """Boot, run ``argv`` with just this environment, power off.

        Raises `GuestDied`, `GuestTimeout` or, where nothing can be booted, `Unavailable`.
        A kernel that never reaches our init gets one more chance: emulation may fail, the
        command cannot have done anything yet. Nothing else is ever tried twice.
        """
        check_machine()
        tools = self._tools or fetch.get_tools()
        directory = (cwd or Path.cwd()).absolute()
        for last in (False, True):
            with ExitStack() as stack:
                boot = self._prepare(stack, tools, argv, env or {}, directory)
                try:
                    return boot.wait(self.timeout)
                except NeverStarted as error:
                    if last:
                        raise
                    _shout(f"{self.kernel_dir.name} NEVER REACHED ITS INIT, trying once more")
                    _shout(str(error))
        raise AssertionError

    def _prepare(
        self,
        stack: ExitStack,
        tools: Tools,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
    ) -> _Boot:
        token = secrets.token_hex(8)
        scratch = stack.enter_context(_directory())
        share = self.share.absolute() if self.share else scratch / "share"
        share.mkdir(exist_ok=True)
        control = stack.enter_context(_control(share / f".guest-{token}"))
        needed = _needed(argv, cwd, self.visible)

        inside = Path("/mnt") / control.name
        init = _INIT.read_text(encoding="utf-8").replace("BUSYBOX", str(inside / "busybox"), 1)
        (control / "init").write_text(init, encoding="utf-8")
        (control / "init").chmod(0o755)
        shutil.copy(tools.busybox, control / "busybox")
        exposed = mounts.outermost(mounts.below(needed, _HIDDEN))
        (control / "exposed").write_text("".join(f"{path}\n" for path in exposed), encoding="utf-8")
        variables = {"DAMONPOLICY_FORBID_LIVE": "1", **env}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        (control / "environment").write_text("".join(lines), encoding="utf-8")
        command = f"cd {shlex.quote(str(cwd))} || exit 125\nexec {shlex.join(argv)}\n"
        (control / "command").write_text(command, encoding="utf-8")
        (control / "modules").mkdir()
        order = image.load_order(self.kernel_dir, self.modules, tools)
        for number, (name, content) in enumerate(order):
            (control / "modules" / f"{number:03}-{name}.ko").write_bytes(content)

        children = stack.enter_context(Children())
        extra = [(path, path) for path in mounts.on_the_way(needed)]
        root = FileShare("hostroot", Path("/"), scratch, extra=[*extra, (share, Path("/mnt"))])
        writable = FileShare("share", share, scratch, read_only=False)
        daemons = [children.start_share(each, tools) for each in (root, writable)]
        line = self._line(tools, [root, writable], f"{inside}/init", token)
        started = time.monotonic()
        qemu = children.start("qemu", line, cwd=scratch)
        return _Boot(self.kernel_dir.name, qemu, daemons, control, scratch, started)

    def _line(
        self,
        tools: Tools,
        shares: Sequence[FileShare],
        init: str,
        token: str,
    ) -> list[str]:
        # quiet keeps the slow serial port short; a damaged kernel is not to be trusted, so
        # an oops ends it; -no-reboot turns the reboot after a panic into QEMU's end.
        # norecord-cmd: else each trace event that is switched on patches the scheduler's code
        # while it runs, and the emulator may meet the breakpoint of a patch that is over
        # (seen once in hundreds: an oops in try_to_wake_up).
        append = (
            "console=ttyS0 quiet panic=-1 oops=panic mitigations=off no_timer_check nokaslr "
            "trace_options=norecord-cmd "
            f"root=hostroot rootfstype=virtiofs ro init={init} damonpolicy.guest={token} "
            f"{self.append}"
        )
        return [
            *tools.qemu,
            "-accel", f"tcg,thread={'multi' if self.shift < 0 else 'single'}", "-cpu", "max",
            *(["-icount", f"shift={self.shift}"] if self.shift >= 0 else []),
            "-smp", self._cpus(), "-m", str(self.memory_mib), *self._memory(),
            "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
            "-no-reboot",
            "-chardev", "file,id=con,path=console", "-serial", "chardev:con",
            *[word for each in shares for word in each.device()],
            "-kernel", str(self.kernel_dir / image.ELF), "-append", append.strip(),
        ]  # fmt: skip

    def _cpus(self) -> str:
        # A socket for each node: the kernel warns, and is tainted, where CPUs of two nodes
        # share a cache.
        return f"cpus={self.cpus},sockets=2" if self.numa else f"cpus={self.cpus}"

    def _memory(self) -> list[str]:
        # Shared memory: virtiofsd reads and writes the guest's buffers in place.
        if not self.numa:
            backend = f"memory-backend-memfd,id=m0,size={self.memory_mib}M,share=on"
            return ["-machine", "q35,memory-backend=m0", "-object", backend]
        words = ["-machine", "q35"]
        half, middle = self.memory_mib // 2, self.cpus // 2
        for node, (size, cpus) in enumerate(
            ((half, (0, middle - 1)), (self.memory_mib - half, (middle, self.cpus - 1)))
        ):
            words += ["-object", f"memory-backend-memfd,id=m{node},size={size}M,share=on"]
            words += ["-numa", f"node,nodeid={node},memdev=m{node},cpus={cpus[0]}-{cpus[1]}"]
        return words


@dataclass(slots=True)
class _Boot:
    """A guest that runs."""

    kernel: str
    qemu: Child
    daemons: Sequence[Child]
    control: Path
    scratch: Path
    started: float
    _reached: float = 0
    """When its init was first seen to run; as the two below, by the monotonic clock."""
    _reported: float = 0
    _orphaned: float = 0
    """When QEMU was first seen without a virtiofsd, which it needs, and which ends first."""

    def wait(self, timeout: float) -> Result:
        """Wait for the guest's end and read what it reported."""
        while not self.qemu.ended(_POLL_SECONDS):
            now = time.monotonic()
            self._look(now)
            if self._reported:
                if now - self._reported > _GRACE_SECONDS:
                    break
            elif self._orphaned and now - self._orphaned > _GRACE_SECONDS:
                raise self._error(self._kind, "virtiofsd ended")
            elif self._reached and now - self._reached > timeout:
                raise self._error(GuestTimeout, f"no end within {timeout:g} s")
            elif not self._reached and now - self.started > _BOOT_SECONDS:
                raise self._error(NeverStarted, f"no init within {_BOOT_SECONDS} s")
        status = self._file("status").strip()
        if status:
            return Result(
                returncode=int(status),
                output=self._file("output"),
                console=self._console(),
                release=self._file("release").strip(),
                seconds=time.monotonic() - self.started,
            )
        self._look(time.monotonic())
        when = "before the command ended" if self._reached else "before the guest's init began"
        raise self._error(self._kind, f"the guest went down {when}")

    def _look(self, now: float) -> None:
        if not self._reached and self._file("release"):
            self._reached = now
        if not self._reported and self._file("status"):
            self._reported = now
        if not self._orphaned and any(daemon.ended() for daemon in self.daemons):
            self._orphaned = now

    @property
    def _kind(self) -> type[GuestError]:
        return GuestDied if self._reached else NeverStarted

    def _error(self, kind: type[GuestError], reason: str) -> GuestError:
        said = "".join(
            f"; {child.name}: {text}" for child in self._children() if (text := child.said())
        )
        return kind(
            self.kernel,
            f"{reason} (QEMU {self.qemu.status}){said}",
            console=self._console(),
            output=self._file("output"),
        )

    def _children(self) -> Iterator[Child]:
        yield self.qemu
        yield from self.daemons

    def _file(self, name: str) -> str:
        return _text(self.control / name)

    def _console(self) -> str:
        return _text(self.scratch / "console").replace("\r", "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _needed(argv: Sequence[str], cwd: Path, visible: Sequence[Path]) -> list[Path]:
    """Return the paths that a guest has to see: this Python, what it imports, and the rest."""
    named = [sys.prefix, sys.base_prefix, sys.executable, *sys.path, argv[0], str(cwd)]
    paths = [Path(name) for name in named if name.startswith("/")] + [
        path.absolute() for path in visible
    ]
    return [each for path in paths if path.exists() for each in {path, path.resolve()}]


@contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="damonpolicy-guest-"))
    try:
        yield path
    finally:
        mounts.remove_tree(path)


@contextmanager
def _control(path: Path) -> Iterator[Path]:
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        mounts.remove_tree(path)


def _shout(text: str) -> None:
    print(f"tests.guest.guest: {text}", file=sys.stderr, flush=True)
