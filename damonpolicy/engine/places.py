"""Where state is kept, and durable writing there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damonpolicy.errors import DamonPolicyError, NoPermission
from damonpolicy.kernel.sysfs import Machine, forbid_live
from damonpolicy.kernel.tree import digest
from damonpolicy.recursion import deep

__all__ = ("Places", "find", "read_json", "write_json")


@dataclass(frozen=True, slots=True)
class Places:
    """``run`` dies with the boot, as the kernel's state does; ``lib`` outlives it."""

    lock: Path
    run: Path
    lib: Path

    @property
    def journal(self) -> Path:
        """The journal of the transaction under way."""
        return self.run / "journal"

    @property
    def state(self) -> Path:
        """What is managed on this boot."""
        return self.run / "state.json"

    @property
    def service(self) -> Path:
        """What the service says of itself."""
        return self.run / "service.json"

    @property
    def sources(self) -> Path:
        """Where the service's policies came from: outlives it, so that it misses what is gone."""
        return self.run / "sources.json"

    @property
    def service_lock(self) -> Path:
        """Held by the service for as long as it runs: there is one for a machine."""
        return self.run / "service.lock"

    @property
    def generations(self) -> Path:
        """One file for each generation."""
        return self.lib / "generations"

    @property
    def confirmed(self) -> Path:
        """Names the generation that comes back at boot."""
        return self.lib / "confirmed.json"


def emulated_directory(name: str, state_dir: Path | None) -> Path:
    """Return where an emulated machine and its state are kept, below the user's own."""
    if state_dir is not None:
        return state_dir
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local/state")
    return Path(home) / "damonpolicy" / name.replace(":", "-")


def find(machine: Machine, state_dir: Path | None) -> Places:
    """Return the places of a machine; ``state_dir`` moves all but the live lock."""
    if machine.name == "live":
        run, lib = Path("/run/damonpolicy"), Path("/var/lib/damonpolicy")
        lock = run / "lock"
        if state_dir is not None:
            run, lib = state_dir / "run", state_dir / "lib"
        return Places(lock, run, lib)
    base = emulated_directory(machine.name, state_dir)
    return Places(base / "run" / "lock", base / "run", base / "lib")


def make_directory(path: Path) -> None:
    """Make a directory that only its owner can look into."""
    forbid_live(str(path))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot("make", path, error) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file at once; afterwards it survives a crash of process and machine."""
    make_directory(path.parent)
    forbid_live(str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            # at once and on one line: anything else is written by json's slow encoder
            stream.write(json.dumps({**data, "digest": digest(data)}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot("write", path, error) from error


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read what `write_json` wrote, None where there is no such file.

    Raises DamonPolicyError where it is anything else: what was edited by hand or cut short
    would otherwise be found out in the middle of a transaction.
    """
    try:
        with path.open(encoding="utf-8") as stream, deep():
            data = json.load(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot("read", path, error) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(data, dict) or data.pop("digest", None) != digest(data):
        raise damaged(path, "its checksum is wrong")
    return data


def damaged(path: Path, reason: object) -> DamonPolicyError:
    """Build the error for a file of ours that somebody else has written."""
    message = f"`{path}` is damaged: {reason}"
    return DamonPolicyError(message, hint="move it away; `damonpolicy status` shows what runs then")


def _cannot(verb: str, path: Path, error: OSError) -> DamonPolicyError:
    reason = (error.strerror or str(error)).lower()
    message = f"cannot {verb} `{path}`: {reason}"
    if isinstance(error, PermissionError):
        return NoPermission(message, hint="run as root, or choose another `--state-dir`")
    return DamonPolicyError(message)
