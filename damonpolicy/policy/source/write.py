"""Writer of plain data as policy text, in the style of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yaml.emitter import Emitter
from yaml.representer import SafeRepresenter
from yaml.resolver import BaseResolver
from yaml.serializer import Serializer

__all__ = ("to_yaml",)


class _Dumper(Emitter, Serializer, SafeRepresenter, BaseResolver):
    """A dumper without scalar types, so that nothing is quoted without need."""

    def __init__(self, stream: Any, **options: Any) -> None:
        Emitter.__init__(self, stream, width=options.get("width"))
        Serializer.__init__(self)
        SafeRepresenter.__init__(self, sort_keys=False)
        self.default_flow_style = None  # type: ignore[assignment] # short ones on one line
        BaseResolver.__init__(self)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(data: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return a document with comments above it, and short collections on one line."""
    above = "".join(f"# {_printable(line)}".rstrip() + "\n" for line in comments)
    text: str = yaml.dump(_texts(data), Dumper=_Dumper, width=100)
    return above + text


def _printable(line: str) -> str:
    """Return a text as one line, as names of processes and files may contain anything."""
    return "".join(each if each.isprintable() else "?" for each in line)


def _texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _texts(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_texts(each) for each in value]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
