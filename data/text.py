"""Reads text: all files of text that people write, convert or copy are read here.

Editors and shells put byte order marks into files, joined files have them in the middle too, and a
copy that was interrupted ends with NULs. None of these are text.
"""

import codecs
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data.errors import InputError

MARK = "\ufeff"
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARKS_OF_LINES = re.compile(rf"(?:\A|(?<=[\r\n])){MARK}+")


def marked_encoding(content: bytes) -> str | None:
    """Returns the encoding that a byte order mark at the beginning names, None without a mark."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def decode(content: bytes, encoding: str = "utf-8") -> str:
    """Returns the text of a whole file, without byte order marks and without NULs at its end.

    Args:
      encoding: the encoding of a file without a byte order mark, which names the encoding itself.

    Raises:
      UnicodeDecodeError: the bytes are no text in this encoding.
    """
    return without_marks(content.decode(marked_encoding(content) or encoding))


def without_marks(text: str) -> str:
    """Returns the text without byte order marks at its lines' beginnings and NULs at its end."""
    if MARK in text:
        text = _MARKS_OF_LINES.sub("", text)
    if "\0" in text:
        content = text.rstrip("\0 \t\r\n")
        text = content + text[len(content) :].partition("\0")[0]
    return text


def plain(text: str) -> str:
    """Returns the text on one line and without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def parse_json(content: bytes | str) -> Any:
    """Returns the JSON value in the content of a file, or in a text.

    Raises:
      ValueError: it is no JSON, no text (see `decode`), or is nested too deeply.
    """
    try:
        return json.loads(decode(content) if isinstance(content, bytes) else content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_text(path: Path) -> str:
    """Reads a file of UTF-8 text, or of UTF-16 or UTF-32 with a byte order mark; see `decode`.

    Raises:
      InputError: the file cannot be read, or is not such text.
    """
    with reading_text(path):
        return decode(path.read_bytes())


@contextlib.contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """Opens the text of a file; see `read_text`.

    Args:
      newline: see the built-in `open`.

    Raises:
      InputError: see `read_text`.
    """
    yield io.StringIO(read_text(path), newline)


@contextlib.contextmanager
def reading_text(path: Path) -> Iterator[None]:
    """Turns errors of opening, reading and decoding a file of text into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error
    except UnicodeDecodeError as error:
        name = "UTF-8" if error.encoding == "utf-8" else error.encoding
        raise InputError(f"{path} is not {name} ({error}): convert it") from error
