"""The stored identity of a machine in a directory, to detect another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from damonpolicy.base.errors import UsageError

__all__ = ("check", "of")

_FORMAT = 3


def of(version: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored identity of a machine with a kernel version and a description."""
    text = json.dumps(spec, sort_keys=True, default=str)
    machine = hashlib.sha256(text.encode()).hexdigest()
    return {"format": _FORMAT, "version": version, "machine": machine}


def check(identity: Mapping[str, Any], state: Mapping[str, Any], store: Path) -> None:
    """Refuse a stored machine with another identity."""
    kept: Mapping[str, Any] = state.get("identity") or {}
    hint = f"remove `{store}`, or choose another with --state-dir"
    if kept.get("format") != identity["format"]:
        raise UsageError(f"`{store}` holds an emulated machine of another damonpolicy", hint=hint)
    if kept.get("version") != identity["version"]:
        raise UsageError(
            f"`{store}` holds an emulated machine of version {kept.get('version')},"
            f" not {identity['version']}",
            hint=hint,
        )
    if kept.get("machine") != identity["machine"]:
        raise UsageError(
            f"`{store}` holds an emulated machine made with another machine file", hint=hint
        )
