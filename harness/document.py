"""A YAML file as plain data: text, numbers, true and false, null, lists and mappings, and nothing else.

Scalars are read by YAML 1.2's core schema, as editors read them, and not by PyYAML's 1.1: `on`, `no`, `01`,
`2024-01-02` and `12:30:45` are text, never truth values, octal numbers, dates or seconds. Numbers with
leading zeros are text as well, because `01` is the name of a category. What is built is counted first: PyYAML
lets an alias stand for billions of values, and leaves with errors of all kinds on dates, tags and depths.
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import yaml

from harness.errors import ConfigError, nearest

MOST_BYTES = 1 << 18  # PyYAML reads some 100 KB a second; the largest sweep file of the project has 3 KB
BYTES_A_VALUE = 10  # a limit of bytes is one of values too, aliases followed; PyYAML builds 10,000 a second
MOST_DEPTH = 50  # the deepest key of a sweep file lies five levels down; Python's stack ends near 300
MOST_DIGITS = 40  # beyond any number that a key takes; Python itself refuses 4,300

_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {w: w.lower() == "true" for w in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TAG = "tag:yaml.org,2002:"
_TAGS = {"str": str, "int": int, "float": (int, float), "bool": bool, "null": type(None)}


class NotYaml(Exception):
    """A text that is no plain data; says what and where, all that could be found."""

    def __init__(self, *sentences: str):
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def read(path: Path, *, texts: bool = False, limit: int = MOST_BYTES) -> Any:
    """The content of a YAML file; None if it is empty.

    Args:
        path: the file.
        texts: leave every scalar a text; `37` is a file name then, and no number.
        limit: most bytes of it.

    Raises:
        ConfigError: no such file, none that can be read, or no plain data (see `parse`).
    """
    try:
        return parse(_text(path, limit), texts=texts, values=limit // BYTES_A_VALUE)
    except NotYaml as error:
        raise ConfigError([f"{path}: not valid YAML: {sentence}" for sentence in error.sentences]) from None
    except FileNotFoundError as error:
        siblings = map(str, path.parent.glob("*.yaml"))
        raise ConfigError(f"{path}: {error.strerror}{nearest(str(path), siblings)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {_refused(error)}") from None


def _refused(error: ValueError) -> str:
    where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
    return f"not UTF-8 text{where}" if where else str(error)


def _text(path: Path, limit: int) -> str:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("is a folder, where a file is wanted")
    if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and path.is_relative_to("/dev")):
        raise ValueError("is no regular file")  # a named pipe waits for ever; <(…) of a shell lies in /dev
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is larger than the {limit >> 10} KiB that it may have")
    return data.decode("utf-8-sig")


def parse(text: str, *, texts: bool = False, values: int = MOST_BYTES // BYTES_A_VALUE) -> Any:
    """A YAML text as plain data; None if it is empty.

    Args:
        text: YAML.
        texts: leave every scalar a text.
        values: most values in it, aliases followed.

    Raises:
        NotYaml: the text breaks YAML's rules, is too deep or too large, or holds what is no plain data: keys
            given twice, keys that are no texts, other tags than YAML's plain ones, unknown aliases.
    """
    try:
        builder = _Builder(text, texts, values)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml(f"line {line}: the unprintable character {text[error.position]!a}") from None
    try:
        value = builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(filter(None, (error.context, error.problem)))
        raise NotYaml(f"line {mark.line + 1}: {words}" if mark else words) from None
    except yaml.YAMLError as error:
        raise NotYaml(f"line {builder.loader.line + 1}: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError):  # PyYAML hands "\U00110000" to chr()
        raise NotYaml(f"line {builder.loader.line + 1}: a character that does not exist") from None
    if builder.lines:
        raise NotYaml(*builder.lines)
    return value


def scalar(text: str) -> Any:
    """What an unquoted word stands for: null, a truth value, a number, or itself.

    Raises:
        NotYaml: a number of very many digits.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > MOST_DIGITS:
            raise NotYaml(f"a number of {len(text)} digits")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


@final
class _Builder:
    """Builds the value from PyYAML's events, whose parser needs no stack, counting as it goes."""

    def __init__(self, text: str, texts: bool, most: int):
        self.loader: Any = yaml.SafeLoader(text)
        self.texts, self.most = texts, most
        self.count = self.depth = 0
        self.lines: list[str] = []
        self.anchors: dict[str, tuple[Any, int] | None] = {}  # value and its size; None while it is built

    def document(self) -> Any:
        self.loader.get_event()  # the start of the stream
        if isinstance(self.loader.get_event(), yaml.StreamEndEvent):
            return None
        value = self._value(self.loader.get_event())
        self.loader.get_event()  # the end of the document
        more = self.loader.get_event()
        if not isinstance(more, yaml.StreamEndEvent):
            raise NotYaml(f"{_line(more)}: a second document begins here")
        return value

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self.count
        self._counted(1, event)
        if event.anchor:
            self.anchors[event.anchor] = None
        value = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event)
        if event.anchor:
            self.anchors[event.anchor] = value, self.count - before
        return value

    def _counted(self, size: int, event: Any) -> None:
        self.count += size
        if self.count > self.most:
            raise NotYaml(f"{_line(event)}: more than {self.most:,} values, aliases followed")

    def _alias(self, event: Any) -> Any:
        found = self.anchors.get(event.anchor)
        if found is None:
            what = "stands inside itself" if event.anchor in self.anchors else "is not known up to here"
            self._wrong(event, f"the alias *{event.anchor} {what}")
            return None
        self._counted(found[1], event)
        return _copy(found[0])  # what is changed in one place later stays as it is in the others

    def _wrong(self, event: Any, sentence: str) -> None:
        self.lines.append(f"{_line(event)}: {sentence}")

    def _collection(self, event: Any) -> Any:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise NotYaml(f"{_line(event)}: nested more than {MOST_DEPTH} levels deep")
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_TAG}{'map' if mapping else 'seq'}"):
            self._wrong(event, f"the tag {_tag(event)} is not known here; allowed: YAML's plain ones")
        value = self._mapping() if mapping else [self._value(e) for e in self._until(yaml.SequenceEndEvent)]
        self.depth -= 1
        return value

    def _until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := self.loader.get_event(), end):
            yield event

    def _mapping(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event)
            value = self._value(self.loader.get_event())
            if key in own or (key is _MERGE and merged is not None):
                self._wrong(event, f"key {'<<' if key is _MERGE else key!r} is given twice")
            elif key is _MERGE:
                merged = self._merged(event, value)
            elif key is not None:
                own[key] = value
        return {**(merged or {}), **own}

    def _key(self, event: Any) -> Any:
        """The text of a key as it is written; `_MERGE` for `<<`, None where it is none."""
        if isinstance(event, yaml.ScalarEvent) and event.tag in (None, "!", f"{_TAG}str"):
            self._counted(1, event)
            merge = event.value == "<<" and event.implicit[0]
            return _MERGE if merge else self._characters(event)
        before, value = len(self.lines), self._value(event)
        if isinstance(event, yaml.AliasEvent) and isinstance(value, str):
            return value
        if len(self.lines) == before:
            self._wrong(event, "a key is a plain text")
        return None

    def _merged(self, event: Any, value: Any) -> dict[str, Any]:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            self._wrong(event, "<< takes a mapping, or a list of mappings")
            return {}
        return {k: v for part in reversed(parts) for k, v in part.items()}  # the first one given wins

    def _scalar(self, event: Any) -> Any:
        text = self._characters(event)
        if self.texts or (event.tag is None and not event.implicit[0]):
            return text  # quoted, or a block
        if event.tag in (None, "!"):
            return text if event.tag else self._plain(event, text)
        kind = _TAGS.get(event.tag.removeprefix(_TAG)) if event.tag.startswith(_TAG) else None
        if kind is str:
            return text
        value = self._plain(event, text)
        if kind is None or not isinstance(value, kind):
            self._wrong(event, f"{text[:80]!r} is not what the tag {_tag(event)} says, or the tag is unknown")
        return value

    def _plain(self, event: Any, text: str) -> Any:
        try:
            return scalar(text)
        except NotYaml as error:
            self._wrong(event, str(error))
            return 0

    def _characters(self, event: Any) -> str:
        """The text of a scalar; halves of characters, as JSON writes them, are put together."""
        text = event.value
        try:
            if not text.isascii():
                text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._wrong(event, "half a character (a lone surrogate)")
            return ""
        if "\0" in text:
            self._wrong(event, "a null character, which no text or path may hold")
            return ""
        return text


_MERGE = object()


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _tag(event: Any) -> str:
    return event.tag.replace(_TAG, "!!")[:80]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value
