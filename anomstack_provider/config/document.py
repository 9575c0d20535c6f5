"""One YAML text -> one mapping, with the line and column of every key.

Reads the parser's events with a stack of its own. Nothing here recurses, so neither a text of a hundred
thousand brackets nor one that aliases multiply to billions of values can exhaust memory, time or the C stack.
What YAML allows and a configuration has no use for (two documents, a key given twice, keys that are not text,
tags, a value inside itself) is an error with its place.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import yaml

from anomstack_provider.config.explain import Path, dotted

MAX_BYTES = 1_048_576
# Size of a document with every alias written out: 1 for each value and 1 more for each 64 characters of text.
MAX_SIZE = 50_000
MAX_DEPTH = 30

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_scalars = yaml.constructor.SafeConstructor()
_SIMPLE_KEY = "while scanning a simple key"
_TAG = "tag:yaml.org,2002:"
_TYPED = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": _scalars.construct_yaml_bool,
    f"{_TAG}int": _scalars.construct_yaml_int,
    f"{_TAG}float": _scalars.construct_yaml_float,
}
# Dates stay text: the key that takes one reads it, and a wrong one is that key's error.
_TEXT = {f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value", "!"}


class DocumentError(ValueError):
    """A text that is not a YAML mapping; ``line`` and ``column`` count from 1, None if there is no place."""

    def __init__(
        self, message: str, line: int | None = None, column: int | None = None, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.key = message, line, column, key


@dataclass(frozen=True)
class Document:
    """The values of a mapping, and (line, column) of each key and list entry by its path."""

    values: dict[str, Any]
    places: dict[Path, tuple[int, int]]


def decode(content: bytes) -> str:
    """Return the text of a file; raises :class:`DocumentError` unless it is UTF-8 of a sensible size."""
    if len(content) > MAX_BYTES:
        raise DocumentError(f"is {len(content):,} bytes long; a file may have {MAX_BYTES:,}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"is not UTF-8 text (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        raise DocumentError(message, line, column) from None


def read_mapping(text: str, text_keys: Container[str] = ()) -> Document:
    """
    Return the mapping that ``text`` holds.

    :param text_keys: top-level keys whose value is text however it looks: ``metric_batch: 007`` is "007".
    :raises DocumentError: if it holds anything else.
    """
    value, places = _read(text, text_keys)
    if not isinstance(value, dict):
        found = "nothing" if value is None else "a list" if isinstance(value, list) else "a single value"
        line = None if value is None else 1
        raise DocumentError(f"expected keys and values, such as 'metric_batch: sales', got {found}", line, line and 1)
    return Document(value, places)


def read_value(text: str) -> Any:
    """Return the value that ``text`` holds, such as ``{lags_n: 3}`` in an environment variable."""
    return _read(text, ())[0]


def _read(text: str, text_keys: Container[str]) -> tuple[Any, dict[Path, tuple[int, int]]]:
    builder = _Builder(text_keys)
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_event():
            builder.take(loader.get_event(), loader)
    except yaml.MarkedYAMLError as error:
        place = _error_place(error, text)
        if place is None:
            raise DocumentError(f"is not YAML: {error.problem or error.context}") from None
        raise DocumentError(_syntax(error, text), *place, builder.key_in_line(place[0])) from None
    except yaml.reader.ReaderError as error:
        # The position counts bytes in one parser and characters in the other; the character itself is sure.
        position = text.find(chr(error.character))
        line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
        message = f"has the character U+{error.character:04X}, which YAML does not allow; remove it"
        raise DocumentError(message, line, column) from None
    except UnicodeEncodeError:
        raise DocumentError("is not UTF-8 text") from None
    finally:
        if loader is not None:
            loader.dispose()
    return builder.root, builder.places


@dataclass
class _Open:
    """A list or mapping whose end has not been read yet."""

    value: Any
    path: Path
    anchor: str | None
    size_before: int
    key: str | None = None
    key_place: tuple[int, int] = (0, 0)
    own: dict[str, int] = field(default_factory=dict)
    merged: list[Any] = field(default_factory=list)
    merging: bool = False

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


class _Builder:
    def __init__(self, text_keys: Container[str]) -> None:
        self.root: Any = None
        self.places: dict[Path, tuple[int, int]] = {}
        self._text_keys = text_keys
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._size = 0
        self._documents = 0

    def take(self, event: Any, loader: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            top = self._open[-1] if self._open else None
            if top is not None and top.wants_key:
                self._start_entry(top, event)
            else:
                size = 1 + len(event.value) // 64
                self._grow(size, event)
                self._add(self._scalar(event, loader), event, event.anchor, size)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong("a second document starts here; one file is one batch, remove the line '---'", event)

    @property
    def current_key(self) -> str | None:
        """The key whose value is being read."""
        path = self._open[-1].path if self._open else ()
        key = self._open[-1].key if self._open else None
        return dotted((*path, key) if key else path) or None

    def key_in_line(self, line: int) -> str | None:
        """The key whose value is being read, or was read last if it stands in this line."""
        top = self._open[-1] if self._open else None
        last = next(reversed(top.own), None) if top is not None and top.wants_key else None
        if top is not None and last is not None and top.own[last] == line:
            return dotted((*top.path, last))
        return self.current_key

    def _wrong(self, message: str, event: Any) -> DocumentError:
        return DocumentError(message, *_place(event), key=self.current_key)

    def _grow(self, by: int, event: Any) -> None:
        self._size += by
        if self._size > MAX_SIZE:
            raise self._wrong("holds too much, counting what its aliases repeat; make it smaller", event)

    def _start_entry(self, top: _Open, event: Any) -> None:
        key = event.value
        if key in top.own:
            raise DocumentError(
                f"is given twice, first in line {top.own[key]}; keep one",
                *_place(event),
                key=dotted((*top.path, key)),
            )
        top.own[key] = event.start_mark.line + 1
        top.key, top.key_place = key, _place(event)
        top.merging = key == "<<" and event.implicit[0]

    def _start(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        is_map = isinstance(event, yaml.MappingStartEvent)
        if top is not None and top.wants_key:
            kind = "a mapping" if is_map else "a list"
            raise self._wrong(f"a key must be text, got {kind}; put Jinja and other text with braces in quotes", event)
        if event.tag not in (None, "!", f"{_TAG}{'map' if is_map else 'seq'}"):
            raise self._wrong(f"the tag {_tag(event.tag)} has no meaning here; remove it", event)
        if len(self._open) >= MAX_DEPTH:
            key = dotted(self._open[-1].path[:1]) or None
            raise DocumentError(f"is nested more than {MAX_DEPTH} levels deep", *_place(event), key=key)
        self._grow(1, event)
        if top is not None and isinstance(top.value, list):
            self.places[self._next_path()] = _place(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open({} if is_map else [], self._next_path(), event.anchor, self._size - 1))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        for mapping in done.merged:
            for key, value in mapping.items():
                done.value.setdefault(key, value)
        self._add(done.value, event, done.anchor, self._size - done.size_before)

    def _alias(self, event: Any) -> None:
        if self._open and self._open[-1].wants_key:
            raise self._wrong("a key must be text, got an alias", event)
        if event.anchor not in self._anchors:
            hint = "; put text that starts with * in quotes"
            raise self._wrong(f"the alias *{event.anchor} has no anchor &{event.anchor} before it{hint}", event)
        target = self._anchors[event.anchor]
        if target is None:
            raise self._wrong(f"the alias *{event.anchor} is inside its own anchor", event)
        value, size = target
        self._grow(size, event)
        self._add(value, event, None, size)

    def _next_path(self) -> Path:
        if not self._open:
            return ()
        top = self._open[-1]
        return (*top.path, len(top.value) if isinstance(top.value, list) else top.key or "")

    def _add(self, value: Any, event: Any, anchor: str | None, size: int) -> None:
        """Put a finished value into what it is part of."""
        if anchor:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            self.places.setdefault(self._next_path(), _place(event))
            top.value.append(value)
            return
        key = top.key or ""
        if top.merging:
            mappings = value if isinstance(value, list) else [value]
            if not all(isinstance(mapping, dict) for mapping in mappings):
                raise self._wrong("<< takes an alias of a mapping, or a list of them", event)
            top.merged += mappings
            for mapping in mappings:
                self.places.update({(*top.path, name): top.key_place for name in mapping if name not in top.own})
        else:
            top.value[key] = value
            self.places[(*top.path, key)] = top.key_place
        top.key, top.merging = None, False

    def _scalar(self, event: Any, loader: Any) -> Any:
        tag = event.tag
        if tag is None or (tag == "!" and event.implicit[0]):
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        top = self._open[-1] if self._open else None
        if tag in _TEXT:
            return event.value
        if tag not in _TYPED:
            raise self._wrong(f"the tag {_tag(tag)} has no meaning here; remove it, or put the text in quotes", event)
        if tag != f"{_TAG}null" and len(self._open) == 1 and top is not None and top.key in self._text_keys:
            return event.value
        try:
            return _TYPED[tag](yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, IndexError):  # IndexError: nothing, tagged as a number
            raise self._wrong(f"cannot read {event.value[:60]!r} as {tag.removeprefix(_TAG)}", event) from None


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _tag(tag: str) -> str:
    return tag.replace(_TAG, "!!")


def _error_place(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int] | None:
    """Return line and column of what is to be mended; the parser's own mark is where it gave up reading."""
    mark = error.context_mark if error.context == _SIMPLE_KEY else error.problem_mark or error.context_mark
    if mark is None:
        return None
    lines = text.splitlines()
    if lines and mark.line >= len(lines) and not text.endswith("\n"):  # behind the end of the text
        return len(lines), len(lines[-1]) + 1
    return mark.line + 1, mark.column + 1


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """Say what breaks the syntax, with the remedy for what people write most often."""
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    character = line[mark.column] if mark and mark.column < len(line) else ""
    problem = error.problem or ""
    if "cannot start any token" in problem and character == "\t":
        return "a tab cannot indent YAML; use spaces"
    if "cannot start any token" in problem and character in "%@`":
        return f"text that starts with {character} must be in quotes, or below '>'"
    if error.context == _SIMPLE_KEY:
        return "expected a key and its value, such as 'metric_batch: sales'; there is no ': ' here"
    if error.context == "while scanning an alias":
        return "text that starts with * must be in quotes, such as a cron: '*/5 * * * *'"
    if problem.startswith("mapping values are not allowed"):
        return "a ': ' starts another value here; put the text in quotes or below '>', and check the indentation"
    context = f" {error.context}" if error.context else ""
    return f"is not YAML: {problem}{context}"
