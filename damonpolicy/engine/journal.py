"""The journal: everything an undo needs, complete before the first write.

The first line is the header, each further line an intent: the number of an operation that
is about to be done; or what is done instead, as processes have ended meanwhile. Every line carries a checksum; a torn last line counts as not there,
because an operation begins only after its intent was written. /run forgets with the
kernel's own state, so nothing here has to survive the machine, only the process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from damonpolicy.engine.places import damaged, make_directory
from damonpolicy.errors import DamonPolicyError
from damonpolicy.kernel.operation import Operation
from damonpolicy.kernel.sysfs import forbid_live
from damonpolicy.plan.managed import Pending

__all__ = ("Before", "Header", "Journal", "read")


@dataclass(frozen=True, slots=True)
class Before:
    """The machine before a transaction: the whole tree, start times by slot, settings."""

    tree: Mapping[str, str]
    starts: Mapping[int, int]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Header:
    """A transaction."""

    transaction: str
    boot_id: str
    generation: int
    before: Before
    operations: tuple[Operation, ...]
    after: Mapping[int, Mapping[str, str]]
    """The configuration that each touched slot shall have."""
    pending: Pending | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "transaction": self.transaction,
            "boot_id": self.boot_id,
            "generation": self.generation,
            "tree": dict(self.before.tree),
            "starts": {str(slot): start for slot, start in self.before.starts.items()},
            "settings": dict(self.before.settings),
            "operations": [operation.to_json() for operation in self.operations],
            "after": {str(slot): dict(files) for slot, files in self.after.items()},
            "pending": self.pending.to_json() if self.pending else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """Read what `to_json` gave."""
        starts = {int(slot): start for slot, start in data["starts"].items()}
        return cls(
            data["transaction"],
            data["boot_id"],
            data["generation"],
            Before(data["tree"], starts, data["settings"]),
            tuple(Operation.from_json(each) for each in data["operations"]),
            {int(slot): files for slot, files in data["after"].items()},
            Pending(**data["pending"]) if data["pending"] else None,
        )


class Journal:
    """A journal that is being written."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        make_directory(path.parent)
        forbid_live(str(path))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(_line(header.to_json()))
            temporary.chmod(0o600)
            temporary.replace(path)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            message = f"cannot write the journal `{path}`: {(error.strerror or '').lower()}"
            raise DamonPolicyError(message) from error

    def intend(self, index: int) -> None:
        """Say that operation ``index`` is about to be done."""
        os.write(self._descriptor, _line({"intent": index}))

    def go_on(self, index: int, header: Header, slot: int) -> None:
        """Say that from operation ``index`` on another plan is followed, which changes one slot."""
        operations = [each.to_json() for each in header.operations[index:]]
        line = {"from": index, "operations": operations, "slot": slot, "after": header.after[slot]}
        os.write(self._descriptor, _line(line))

    def close(self) -> None:
        """Stop writing; the file stays."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """End the transaction."""
        self.close()
        self.path.unlink(missing_ok=True)


def read(path: Path) -> tuple[Header, set[int]] | None:
    """Return the header and the intents of a journal, None where there is no journal.

    Raises DamonPolicyError where the header itself is damaged: it is renamed into place
    when complete, so that is somebody's doing.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot read the journal `{path}`: {(error.strerror or '').lower()}"
        raise DamonPolicyError(message) from error
    first = _content(lines[0])
    if first is None:
        raise damaged(path, "its checksum is wrong")
    try:
        header = Header.from_json(first)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error) from error
    intents: set[int] = set()
    for line in lines[1:]:
        content = _content(line)
        if content is None:
            break
        if "intent" in content:
            intents.add(content["intent"])
        else:
            header = _otherwise(header, content)
    return header, intents


def _otherwise(header: Header, line: Mapping[str, Any]) -> Header:
    """Return the header with what `Journal.go_on` has said."""
    later = [Operation.from_json(each) for each in line["operations"]]
    after = {**header.after, line["slot"]: line["after"]}
    return replace(header, operations=(*header.operations[: line["from"]], *later), after=after)


def _line(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest()[:16].encode() + b" " + text + b"\n"


def _content(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if hashlib.sha256(text).hexdigest()[:16].encode() != checksum:
        return None
    data: dict[str, Any] = json.loads(text)
    return data
