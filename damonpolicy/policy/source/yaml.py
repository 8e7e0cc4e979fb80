"""Parser of YAML text into nodes with places, from the events of libyaml.

It uses events instead of PyYAML's composer: they need no recursion, so a deeply nested document
cannot exhaust the stack, and each trap of YAML is seen at its place.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

import yaml

from damonpolicy.base import limits
from damonpolicy.base.diagnostics import Diagnostic, Span, is_whole
from damonpolicy.base.lazy import dataclass
from damonpolicy.policy.source.characters import SPACES, name_of, unquote
from damonpolicy.policy.source.nodes import Lost, Mapping, Node, Scalar, Sequence
from damonpolicy.policy.source.syntax import (
    NO_SPACE,
    TOO_DEEP,
    line_hint,
    not_a_tag,
    syntax_error,
    unreadable,
)

__all__ = ("parse", "parse_foreign")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_AROUND = re.compile(rf"^[{SPACES}]+|[{SPACES}]+$")


class _Refused(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


@dataclass
class _Frame:
    """A collection under construction."""

    mark: Any
    flow: bool
    mapping: bool
    items: list[Any] = field(default_factory=list)
    key: Scalar | None = None
    seen: dict[str, Span] = field(default_factory=dict)


def parse(name: str, text: str) -> tuple[Mapping | None, list[Diagnostic]]:
    """Parse one document; ``name`` is the file name for places.

    Returns the top mapping, or None if nothing useful could be read, and all diagnostics.
    """
    top, found = _read(_Reader(name, text))
    if found and top is None:
        return None, found
    if top is None:
        hint = "a policy begins with `version: 1` and `name:`"
        return None, [Span.on_line(name, 1, 1).error("DP0011", "the file holds no policy", hint)]
    if _of_damo(top):
        hint = "`damonpolicy import FILE` makes a policy of it"
        message = "this is a configuration of damo, not a policy"
        return None, [top.span.error("DP0039", message, hint)]
    if not isinstance(top, Mapping):
        message = f"a policy is a mapping, not a {'list' if isinstance(top, Sequence) else 'text'}"
        return None, [
            *found,
            top.span.error("DP0014", message, "begin with `version: 1` and `name:`"),
        ]
    return top, found


def _of_damo(top: Node) -> bool:
    """Return whether a document is a configuration of damo: kdamonds with contexts, or schemes."""
    listed = top.get("kdamonds") if isinstance(top, Mapping) and not top.get("version") else top
    if not isinstance(listed, Sequence) or not listed.items:
        return False
    first = listed.items[0]
    return isinstance(first, Mapping) and any(map(first.key, ("contexts", "access_pattern")))


def parse_foreign(name: str, text: str) -> tuple[Node | None, list[Diagnostic]]:
    """Parse another program's file, YAML or JSON; null values are left out."""
    return _read(_ForeignReader(name, text))


def _read(reader: _Reader) -> tuple[Node | None, list[Diagnostic]]:
    try:
        return reader.read(), reader.found
    except _Refused as refused:
        return None, [*reader.found, refused.diagnostic]
    except yaml.reader.ReaderError:
        return None, [unreadable(reader.name, reader.text)]
    except yaml.MarkedYAMLError as error:
        wrong = syntax_error(reader.name, reader.text, error)
        same = wrong.span and wrong.code == "DP0127" and wrong.span.line
        others = [each for each in reader.found if not (each.span and each.span.line == same)]
        return None, [*others, wrong]


class _Reader:
    language = "the policy language"
    instead = 'name the value once under `vars:` and write "{{ name }}" where it is used'

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.found: list[Diagnostic] = []
        self.stack: list[_Frame] = []
        self.top: Node | None = None
        self.documents = 0
        self.nodes = 0

    def span(self, event: Any, start: Any = None) -> Span:
        """Return the place of an event, or of all from a ``start`` to its end."""
        start, end = start or event.start_mark, event.end_mark
        return Span(self.name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def error(self, code: str, span: Span, message: str, hint: str = "", **more: Any) -> None:
        self.found.append(span.error(code, message, hint, **more))

    def read(self) -> Node | None:
        for event in yaml.parse(self.text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                self._document(event)
            elif isinstance(event, yaml.AliasEvent):
                span, message = self.span(event), f"aliases are not part of {self.language}"
                self.error("DP0007", span, message, self.instead)
                self._add(self._lost(span))
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._open(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._close(event)
        return self.top

    def _scalar(self, event: Any) -> None:
        span = self.span(event)
        meant = re.fullmatch(r"!([a-z_]+)", event.tag or "")
        key = self.stack[-1].key if self.stack else None
        if meant and not event.value and key and key.text in ("allow", "reject"):
            self.found.append(not_a_tag(span, meant[1]))
            self._add(Mapping(((Scalar("not", span), Scalar(meant[1], span)),), span))
            return
        self._common(event)
        if not is_whole(event.value):  # PyYAML's own reader accepts escapes that libyaml refuses
            self.error("DP0003", span, "half a character is not text", "write the whole character")
            self._add(Scalar("", span, quoted=True))
            return
        text = event.value if event.style else self._plain(event.value, span)
        self._add(Scalar(text, span, bool(event.style)))

    def _plain(self, text: str, span: Span) -> str:
        """Refuse text around a value that looks like YAML; return the value without it."""
        key = self.stack[-1].key if self.stack else None
        inner, stripped = unquote(text), _AROUND.sub("", text)
        if inner and not (key and key.text == "description"):
            message = f"`{text[0]}` is not a quote to YAML, but part of the value"
            self.error("DP0127", span, message, f'write `"{inner}"`')
            return inner
        if stripped != text:
            char = text[0] if text[0] != stripped[:1] else text[-1]
            message = f"{name_of(char)} is not a space to YAML, but part of the value"
            self.error("DP0127", span, message, f"write `{stripped}`")
        return stripped

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            hint = "put each policy into a file of its own"
            raise _Refused(self.span(event).error("DP0010", "a second document begins", hint))

    def _common(self, event: Any) -> None:
        self.nodes += 1
        span = self.span(event)
        if self.nodes > limits.VALUES.most:
            message = f"the file has more than {limits.VALUES.most:,} keys and values"
            raise _Refused(span.error("DP0013", message))
        if event.anchor is not None:
            message = f"anchors are not part of {self.language}"
            self.error("DP0007", span, message, self.instead)
        if event.tag is not None and event.tag != "!":
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            message = f"the tag `{tag}` is not part of {self.language}"
            self.error("DP0009", span, message, "types come from the field: remove the tag")

    def _open(self, event: Any) -> None:
        self._common(event)
        if len(self.stack) >= limits.DEPTH.most:
            raise _Refused(self.span(event).error("DP0013", TOO_DEEP))
        mapping = isinstance(event, yaml.MappingStartEvent)
        parent = self.stack[-1] if self.stack else None
        if parent and parent.mapping and parent.key is None:
            self._refuse_key(parent, event)
        self.stack.append(_Frame(event.start_mark, bool(event.flow_style), mapping))

    def _refuse_key(self, parent: _Frame, event: Any) -> None:
        """Report a collection in place of a key: nearly always a template without quotes."""
        before = self.text[parent.mark.index : parent.mark.index + 2]
        if parent.flow and before == "{{":
            line = self.text[parent.mark.index :].split("\n", 1)[0]
            found = re.match(r"\{\{.*?\}\}[^\s,}\]]*", line)
            whole = found[0] if found else "{{"
            mark = parent.mark
            span = Span.on_line(self.name, mark.line + 1, mark.column + 1, len(whole))
            message = "a template without quotes is a mapping to YAML"
            hint = f'write `"{whole}"`' if whole != "{{" else "put quotes around the value"
            raise _Refused(span.error("DP0012", message, hint))
        message, hint = "a key is a single word, not a collection", "write `name: value`"
        raise _Refused(self.span(event).error("DP0016", message, hint))

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        if frame.flow:
            span = self.span(event, frame.mark)
        else:  # only the beginning of a block, so that carets stay short
            span = Span.on_line(self.name, frame.mark.line + 1, frame.mark.column + 1)
        kind = Mapping if frame.mapping else Sequence
        self._add(kind(tuple(frame.items), span))

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.top = node if not _is_empty(node) else None
            return
        frame = self.stack[-1]
        if not frame.mapping:
            if _is_empty(node):
                self.error("DP0105", node.span, "this list item has no value", "remove the `-`")
                node = self._lost(node.span)
            frame.items.append(node)
        elif frame.key is None:
            frame.key = node if isinstance(node, Scalar) else None
        else:
            self._pair(frame, frame.key, node)
            frame.key = None

    def _pair(self, frame: _Frame, key: Scalar, value: Node) -> None:
        if key.text == "<<":
            hint = "use `vars:` and `for_each:` instead"
            self.error("DP0008", key.span, f"merge keys are not part of {self.language}", hint)
        elif "{{" in key.text:
            self.error("DP0012", key.span, "a key cannot be a template", "only values can")
        elif glued := not key.quoted and re.match(r"([a-z_]+):[\[{\"']", key.text):
            line = self.text.splitlines()[key.span.line - 1][key.span.column - 1 :]
            hint = line_hint(glued[1], re.sub(r"\s+#.*", "", line)[glued.end() - 1 :].rstrip())
            span = Span.on_line(self.name, key.span.line, key.span.column, glued.end() - 1)
            self.error("DP0004", span, NO_SPACE.format(glued[1]), hint)
            frame.items.append((Scalar(glued[1], span), self._lost(span)))
            key = Scalar(glued[1], span)
        elif key.text in frame.seen:
            first = frame.seen[key.text]
            message = f"the key `{key.text}` appears twice"
            hint = "keep one of them"
            self.error("DP0006", key.span, message, hint, related=[(first, "first here")])
        elif _is_empty(value):
            if meant := self._no_value(frame, key):
                frame.items.append((meant, self._lost(key.span)))
        else:
            frame.seen[key.text] = key.span
            frame.items.append((key, value))
            return
        frame.seen.setdefault(key.text, key.span)

    def _lost(self, span: Span) -> Node:
        return Lost(span)

    def _no_value(self, frame: _Frame, key: Scalar) -> Scalar | None:
        """Report a key without a value; return the key, unless it is part of another's value."""
        found = re.fullmatch(r"([a-z_]+)([ :=])(\S+)", key.text) if frame.flow else None
        meant = f"`{found[1]}: {found[3]}`" if found else ""
        if frame.flow and frame.items and isinstance(frame.items[-1][1], Scalar):
            before = frame.items[-1][1].text
            self.error(
                "DP0015",
                key.span,
                f"in `{{…}}` a comma ends the value, so `{key.text}` is a key of its own",
                f'write "{before},{key.text}" with quotes' + (f", or {meant}" if meant else ""),
            )
            return None
        hint = f"write {meant}" if meant else "write a value, or remove the key"
        if found and found[2] == ":":
            self.error("DP0004", key.span, NO_SPACE.format(found[1]), hint)
        else:
            self.error("DP0105", key.span, f"`{key.text}` has no value", hint)
        return Scalar(found[1], key.span) if found else key


class _ForeignReader(_Reader):
    """A reader of other programs' files: null counts as missing, and braces are text."""

    language = "such files"
    instead = "write the value out"

    def _lost(self, span: Span) -> Node:
        return Scalar("", span, quoted=True)

    def _pair(self, frame: _Frame, key: Scalar, value: Node) -> None:
        if key.text in frame.seen or key.text == "<<":
            super()._pair(frame, key, value)
            return
        frame.seen[key.text] = key.span
        if not _is_empty(value):
            frame.items.append((key, value))


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.quoted and node.text in ("", "~", "null")
