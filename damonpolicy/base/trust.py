"""Checks of owners and modes of files that decide what root does.

A path is walked from `/` downwards; each step is opened by itself, and the opened file is checked.
So nobody can exchange a file between the check and the reading. Directories with the sticky bit
(/tmp) let everybody add names, but exchange only their own: there the entry's owner decides.

An access control list needs no check of its own: the group's bits of the mode show the most that
it gives (acl(5)).
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from damonpolicy.base import log
from damonpolicy.base.errors import NoPermission
from damonpolicy.base.lazy import dataclass

__all__ = (
    "Keepers",
    "Untrusted",
    "by_hand",
    "guarded",
    "let_go",
    "make_private_directory",
    "open_own",
    "open_public",
    "open_trusted",
    "read_own",
    "root_and_we",
    "why_untrusted",
)

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
"""The number of links that the kernel itself follows (include/linux/namei.h: MAXSYMLINKS)."""
_CHUNK = 1 << 20

Look: TypeAlias = Callable[[str, os.stat_result], None]


class Untrusted(NoPermission):
    """A file that an untrusted user could change; the hint says how to fix that."""

    code = "DP0046"


@dataclass(frozen=True, slots=True)
class Keepers:
    """Who may be able to change a file: its owners, and perhaps its group."""

    owners: frozenset[int]
    group: bool = False


def root_and_we() -> Keepers:
    """Return root and the user that we run as: for state, and for unattended runs."""
    return Keepers(frozenset({0, os.geteuid()}))


def by_hand() -> Keepers:
    """Return also the user who called sudo, and groups: for files that a command names.

    Many systems give every user a group of its own, which may write the user's files.
    """
    user = os.environ.get("SUDO_UID", "")
    more = {int(user)} if os.geteuid() == 0 and user.isascii() and user.isdecimal() else set()
    return Keepers(root_and_we().owners | more, group=True)


def let_go(descriptor: int) -> None:
    """Close a file that was only read, or that nothing relies on, and ignore errors.

    Linux closes a file even if it returns an error (fs/open.c: close). Writes that must arrive call
    close themselves, and its error ends the write.
    """
    try:
        os.close(descriptor)
    except OSError as error:
        log.warning("close", reason=error.strerror)


def guarded(machine: str) -> bool:
    """Return whether somebody else's file could change a machine that only root may change."""
    return machine == "live" and os.geteuid() == 0


def open_trusted(path: str | Path, keepers: Keepers, flags: int = os.O_RDONLY) -> int:
    """Open a file that only ``keepers`` can change or exchange, including every directory above it.

    Links are followed, and checked as well.

    Raises Untrusted for a file that others can change, OSError for one that cannot be opened or is
    not regular; a directory is opened if ``flags`` say so.
    """
    return _open(path, lambda place, status: _refuse(place, status, keepers), flags)[0]


def open_public(path: str | Path) -> tuple[int, str, bool]:
    """Open a file for reading; return its real path, and whether everybody could read it.

    Raises OSError for what cannot be opened.
    """
    closed: list[str] = []

    def look(place: str, status: os.stat_result) -> None:
        wanted = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
        if not status.st_mode & wanted:
            closed.append(place)

    descriptor, real = _open(path, look, os.O_RDONLY)
    return descriptor, real, not closed


def _open(path: str | Path, look: Look, flags: int) -> tuple[int, str]:
    """Open a file step by step, after a ``look`` at each step; return its real path, too."""
    names = _reversed(os.path.join(os.getcwd(), path))
    opened = [os.open("/", _PATH)]
    try:
        look("/", os.fstat(opened[0]))
        at, place, links = opened[0], "/", 0
        while names:
            name = names.pop()
            here = os.path.dirname(place) if name == ".." else os.path.join(place, name)
            opened.append(os.open(name, _PATH, dir_fd=at))
            status = os.fstat(opened[-1])
            look(here, status)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = os.readlink("", dir_fd=opened[-1])
                names += _reversed(target)
                if target.startswith("/"):
                    at, place = opened[0], "/"
            elif names or stat.S_ISDIR(status.st_mode):
                at, place = opened[-1], here
            elif not stat.S_ISREG(status.st_mode):  # opening a device may do something
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            else:
                return _final(name, flags, at, here, look), here
        if not flags & (os.O_DIRECTORY | os.O_PATH):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        return _final(".", flags, at, place, look), place
    finally:
        for each in opened:
            let_go(each)


def _reversed(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _final(name: str, flags: int, at: int, here: str, look: Look) -> int:
    """Open the file itself; it may be another one by now, so it is checked again."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    try:
        look(here, os.fstat(descriptor))
    except Untrusted:
        let_go(descriptor)
        raise
    return descriptor


def why_untrusted(path: str | Path, keepers: Keepers) -> Untrusted | None:
    """Return why others can change a file or directory; None if they cannot, or it is missing."""
    try:
        let_go(open_trusted(path, keepers, os.O_PATH))
    except Untrusted as error:
        return error
    except OSError:
        return None
    return None


def _refuse(path: str, status: os.stat_result, keepers: Keepers) -> None:
    """Raise Untrusted if others than ``keepers`` can change the file that ``status`` describes."""
    if status.st_uid not in keepers.owners:
        hint = f"look at it, then `chown root {shlex.quote(path)}`" if os.geteuid() == 0 else ""
        raise Untrusted(f"`{path}` belongs to user {status.st_uid}, who can change it", hint=hint)
    if stat.S_ISLNK(status.st_mode):  # its mode means nothing, and its target is looked at next
        return
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return
    if status.st_mode & stat.S_IWOTH:
        who = "everyone"
    elif status.st_mode & stat.S_IWGRP and not keepers.group:
        who = f"group {status.st_gid}"
    else:
        return
    hint = f"look at it, then `chmod go-w {shlex.quote(path)}`"
    raise Untrusted(f"{who} can change `{path}`", hint=hint)


def make_private_directory(path: Path) -> None:
    """Make a directory that only its owner can read, and missing parents.

    The umask cannot widen the mode: `os.makedirs` would give parents whatever the umask leaves. An
    existing directory is left as it is.

    Raises Untrusted if others can change an existing one, OSError if it cannot be made.
    """
    missing = []
    each = path
    while not os.path.lexists(each):
        missing.append(each)
        each = each.parent
    for each in reversed(missing):
        try:
            os.mkdir(each, 0o700)
        except FileExistsError:  # somebody was faster: looked at below
            continue
    let_go(_own_directory(path))


def _own_directory(path: Path) -> int:
    """Open a directory of ours, as the base for the files in it."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        _refuse(str(path), status, root_and_we())
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # sticky: others can add files to it
            message = f"others can add files to `{path}`"
            hint = f"`chmod go-w,-t {shlex.quote(str(path))}`"
            raise Untrusted(message, hint=hint)
    except Untrusted:
        let_go(descriptor)
        raise
    return descriptor


def open_own(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file that we keep ourselves, with mode 0600 where ``flags`` make it.

    Only the file and its directory are checked: the user chose the directories above.

    Raises Untrusted if others can change it, or it is a link or not a regular file, OSError if it
    cannot be opened.
    """
    directory = _own_directory(path.parent)
    try:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise _odd(path) from error
        raise
    finally:
        let_go(directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _odd(path)
        _refuse(str(path), status, root_and_we())
    except Untrusted:
        let_go(descriptor)
        raise
    return descriptor


def _odd(path: Path) -> Untrusted:
    return Untrusted(f"`{path}` is not a regular file", hint="move it away")


def read_own(path: Path) -> bytes:
    """Return the content of a file of ours; raises as `open_own` does."""
    descriptor = open_own(path)
    try:
        chunks = []
        while chunk := os.read(descriptor, _CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        let_go(descriptor)
