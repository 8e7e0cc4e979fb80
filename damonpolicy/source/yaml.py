"""YAML text into nodes with places, by the events of libyaml.

Events instead of PyYAML's composer: they come without recursion, so a deeply nested
document cannot exhaust the stack, and each trap of YAML is seen where it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from damonpolicy import limits
from damonpolicy.diagnostics import Diagnostic, Span, is_whole
from damonpolicy.source.nodes import Lost, Mapping, Node, Scalar, Sequence

__all__ = ("parse", "parse_foreign")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PROBLEMS = (
    ("found character that cannot start any token", "this character cannot start a value"),
    ("mapping values are not allowed", "`:` is not expected here"),
    ("did not find expected key", "the indentation does not fit the lines above"),
    ("did not find expected '-' indicator", "the indentation does not fit the list above"),
    ("did not find expected ',' or '}'", "a `{` is not closed, or a `,` is missing"),
    ("did not find expected ',' or ']'", "a `[` is not closed, or a `,` is missing"),
    ("found unexpected end of stream", "a quote is not closed"),
    ("found unknown escape character", "this escape is not known in double quotes"),
    ("block sequence entries are not allowed", "a list item is not expected here"),
    ("did not find expected <document start>", "this is not expected here"),
    ("found undefined tag handle", "tags are not part of the policy language"),
    ("found a tab character", "a tab is used for indentation"),
)


_TOO_DEEP = "the policy is nested too deeply"
_UNCLOSED = ("unexpected end of stream", "expected ',' or")


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

    Returns the top mapping, or None where nothing useful could be read, and all
    diagnostics found on the way.
    """
    top, found = _read(_Reader(name, text))
    if found and top is None:
        return None, found
    if top is None:
        start = Span(name, 1, 1, 1, 2)
        hint = "a policy begins with `version: 1` and `name:`"
        return None, [Diagnostic.error("DP0011", start, "the file holds no policy", hint=hint)]
    if _of_damo(top):
        hint = "`damonpolicy import FILE` makes a policy of it"
        message = "this is a configuration of damo, not a policy"
        return None, [Diagnostic.error("DP0039", top.span, message, hint=hint)]
    if not isinstance(top, Mapping):
        message = "a policy is a mapping, not a " + (
            "list" if isinstance(top, Sequence) else "text"
        )
        hint = "begin with `version: 1` and `name:`"
        return None, [*found, Diagnostic.error("DP0014", top.span, message, hint=hint)]
    return top, found


def _of_damo(top: Node) -> bool:
    """Tell whether a document is what damo takes: kdamonds with contexts, or a list of schemes."""
    listed = top.get("kdamonds") if isinstance(top, Mapping) and not top.get("version") else top
    if not isinstance(listed, Sequence) or not listed.items:
        return False
    first = listed.items[0]
    return isinstance(first, Mapping) and any(map(first.key, ("contexts", "access_pattern")))


def parse_foreign(name: str, text: str) -> tuple[Node | None, list[Diagnostic]]:
    """Parse another program's file, YAML or JSON; what is null there is left out."""
    return _read(_ForeignReader(name, text))


def _read(reader: _Reader) -> tuple[Node | None, list[Diagnostic]]:
    try:
        return reader.read(), reader.found
    except _Refused as refused:
        return None, [*reader.found, refused.diagnostic]
    except yaml.reader.ReaderError:
        return None, [_unreadable(reader.name, reader.text)]
    except yaml.MarkedYAMLError as error:
        return None, [*reader.found, _syntax(reader.name, reader.text, error)]


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

    def span(self, start: Any, end: Any) -> Span:
        return Span(self.name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def error(self, code: str, span: Span, message: str, hint: str = "", **more: Any) -> None:
        self.found.append(Diagnostic.error(code, span, message, hint=hint, **more))

    def read(self) -> Node | None:
        for event in yaml.parse(self.text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                self._document(event)
            elif isinstance(event, yaml.AliasEvent):
                span = self.span(event.start_mark, event.end_mark)
                message = f"aliases are not part of {self.language}"
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
        span = self.span(event.start_mark, event.end_mark)
        meant = re.fullmatch(r"!([a-z_]+)", event.tag or "")
        key = self.stack[-1].key if self.stack else None
        if meant and not event.value and key and key.text in ("allow", "reject"):
            self.found.append(_not_a_tag(span, meant[1]))
            self._add(Mapping(((Scalar("not", span), Scalar(meant[1], span)),), span))
            return
        self._common(event)
        if not is_whole(event.value):  # PyYAML's own reader takes escapes that libyaml refuses
            self.error("DP0003", span, "half a character is no text", "write the whole character")
            self._add(Scalar("", span, quoted=True))
            return
        self._add(Scalar(event.value, span, bool(event.style)))

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            span = self.span(event.start_mark, event.end_mark)
            hint = "put each policy into a file of its own"
            raise _Refused(Diagnostic.error("DP0010", span, "a second document begins", hint=hint))

    def _common(self, event: Any) -> None:
        self.nodes += 1
        span = self.span(event.start_mark, event.end_mark)
        if self.nodes > limits.VALUES.most:
            raise _Refused(
                Diagnostic.error(
                    "DP0013", span, f"the file has more than {limits.VALUES.most:,} keys and values"
                )
            )
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
            span = self.span(event.start_mark, event.end_mark)
            raise _Refused(Diagnostic.error("DP0013", span, _TOO_DEEP))
        mapping = isinstance(event, yaml.MappingStartEvent)
        parent = self.stack[-1] if self.stack else None
        if parent and parent.mapping and parent.key is None:
            self._refuse_key(parent, event)
        self.stack.append(_Frame(event.start_mark, bool(event.flow_style), mapping))

    def _refuse_key(self, parent: _Frame, event: Any) -> None:
        """A collection where a key belongs: nearly always a template without quotes."""
        before = self.text[parent.mark.index : parent.mark.index + 2]
        if parent.flow and before == "{{":
            line = self.text[parent.mark.index :].split("\n", 1)[0]
            found = re.match(r"\{\{.*?\}\}[^\s,}\]]*", line)
            whole = found[0] if found else "{{"
            start = self.span(parent.mark, parent.mark)
            span = Span(self.name, start.line, start.column, start.line, start.column + len(whole))
            message = "a template without quotes is a mapping to YAML"
            hint = f'write "{whole}"' if whole != "{{" else "put quotes around the value"
            raise _Refused(Diagnostic.error("DP0012", span, message, hint=hint))
        span = self.span(event.start_mark, event.end_mark)
        message, hint = "a key is a single word, not a collection", "write `name: value`"
        raise _Refused(Diagnostic.error("DP0016", span, message, hint=hint))

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        end = event.end_mark if frame.flow else self._content_end(frame)
        span = self.span(frame.mark, end)
        kind = Mapping if frame.mapping else Sequence
        self._add(kind(tuple(frame.items), span))

    def _content_end(self, frame: _Frame) -> Any:
        """End of a block collection: where its first line ends, so that carets stay short."""
        return _Mark(frame.mark.line, frame.mark.column + 1)

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
        elif key.text in frame.seen:
            first = frame.seen[key.text]
            message = f"the key `{key.text}` stands twice"
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
        """Report a key without a value; return the key, unless it is a part of another's value."""
        found = re.fullmatch(r"([a-z_]+) (\S+)", key.text) if frame.flow else None
        meant = f"`{found[1]}: {found[2]}`" if found else ""
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
        self.error("DP0105", key.span, f"`{key.text}` has no value", hint)
        return Scalar(found[1], key.span) if found else key


class _ForeignReader(_Reader):
    """Reads what other programs write: null is as good as nothing, and braces are text."""

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


@dataclass(frozen=True)
class _Mark:
    line: int
    column: int


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.quoted and node.text in ("", "~", "null")


def _syntax(name: str, text: str, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and any(word in (error.problem or "") for word in _UNCLOSED):
        mark = error.context_mark  # where it was opened tells more than where the file ends
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines() or [""]
    line = min(line, len(lines) - 1)
    span = Span(name, line + 1, column + 1, line + 1, column + 2)
    problem = error.problem or "the text is not YAML"
    if "maximum nesting depth" in problem:  # libyaml since 0.2.6, before the events come to us
        return Diagnostic.error("DP0013", span, _TOO_DEEP)
    source = lines[line]
    indent = source[: len(source) - len(source.lstrip())]
    if "\t" in indent or source[column : column + 1] == "\t":
        at = source.index("\t") + 1
        return Diagnostic.error(
            "DP0005",
            Span(name, line + 1, at, line + 1, at + 1),
            "a tab stands where YAML wants spaces",
            hint="indent with spaces",
        )
    lacking = _lacks_colon(lines, line, column, error)
    if lacking:
        return _no_colon(name, lines, *lacking)
    near = lines[max(0, line - 1)] + "\n" + source
    if "{{" in near and '"' not in near and "'" not in near:
        return Diagnostic.error(
            "DP0012",
            span,
            "a template without quotes is a mapping to YAML",
            hint='write the whole value in quotes, such as "{{ name }}s"',
        )
    if "tag" in (error.context or "") and error.context_mark:
        start = error.context_mark
        before, tagged = lines[start.line][: start.column], lines[start.line][start.column :]
        word = re.match(r"!([a-z_]+)", tagged)
        if word and re.search(r"\b(allow|reject):\s+\Z", before):
            end = start.column + 1 + word.end()
            line, column = start.line + 1, start.column + 1
            return _not_a_tag(Span(name, line, column, line, end), word[1])
    hint = ""
    if "end of stream" in problem or "expected ',' or" in problem:
        hint = "close it, or put quotes around a value that holds such a character"
    elif "did not find expected" in problem:
        hint = "what belongs together begins in the same column"
    elif "mapping values" in problem:
        hint = "put quotes around a value that holds `: `"
    elif source[column : column + 1] in ("@", "`", "%"):
        hint = "put quotes around the value"
    sentence = next((ours for theirs, ours in _PROBLEMS if theirs in problem), problem)
    return Diagnostic.error("DP0004", span, sentence, hint=hint)


def _lacks_colon(
    lines: list[str], line: int, column: int, error: yaml.MarkedYAMLError
) -> tuple[int, int] | None:
    """Tell where a key without a `:` begins, if that is what is wrong."""
    problem, context = error.problem or "", error.context_mark
    if "expected ':'" in problem and context:
        return context.line, context.column
    if "mapping values" in problem and line and re.match(r"\s*[\w.-]+\Z", lines[line][:column]):
        # to YAML the line before goes on here; only where it begins a value, this is certain
        before = lines[line - 1]
        parent = lines[line - 2].rstrip() if line > 1 else ":"
        text = before.lstrip(" -")
        begins = before.lstrip().startswith("- ") or parent.endswith(":")
        same = len(before) - len(text) == len(lines[line]) - len(lines[line].lstrip())
        if begins and same and re.match(r"[\w.-]+( |$)", text):
            return line - 1, len(before) - len(text)
    return None


def _no_colon(name: str, lines: list[str], line: int, column: int) -> Diagnostic:
    text = re.sub(r"\s+#.*", "", lines[line][column:]).rstrip()
    found = re.match(r"""("[^"]*"|'[^']*'|\S+)\s*(.*)""", text)
    key, value = (found[1], found[2]) if found else (text, "")
    span = Span(name, line + 1, column + 1, line + 1, column + 1 + max(len(key), 1))
    hint = f"write `{key}: {value}`" if value else f"write `{key}:` and its value"
    if len(text) > 60 or re.fullmatch(r"['\"][^'\"]*", key):
        hint = "write `:` after the key"
    return Diagnostic.error("DP0004", span, "this line lacks a `:` after its key", hint=hint)


def _not_a_tag(span: Span, word: str) -> Diagnostic:
    """``!anon`` where a filter is meant to negate."""
    hint = f"write `{{not: {word}}}`"
    return Diagnostic.error("DP0009", span, f"`!{word}` is a tag to YAML", hint=hint)


def _unreadable(name: str, text: str) -> Diagnostic:
    """Locate a character that YAML does not allow."""
    # libyaml's position counts bytes, the pure reader's counts characters: look for it instead
    position = next((i for i, char in enumerate(text) if not _allowed(char)), 0)
    before = (text[:position] + "x").splitlines()  # YAML has more ends of lines than one, too
    line, column = len(before), len(before[-1])
    number = ord(text[position]) if text else 0
    return Diagnostic.error(
        "DP0003",
        Span(name, line, column, line, column + 1),
        f"the character U+{number:04X} is not allowed in YAML",
        hint="remove it, or write it as an escape in double quotes",
    )


def _allowed(char: str) -> bool:
    number = ord(char)
    return (
        number in (0x09, 0x0A, 0x0D, 0x85)
        or 0x20 <= number <= 0x7E
        or 0xA0 <= number <= 0xD7FF
        or (0xE000 <= number <= 0xFFFD and number != 0xFEFF)
        or number >= 0x10000
    )
