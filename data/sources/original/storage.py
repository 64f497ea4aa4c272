"""Reads the values of the original's databases, which are folders with an LMDB environment."""

import contextlib
import reprlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import msgpack

from data.errors import InputError, reason
from data.sources.json_files import Mistake, as_list, as_object, read_json
from data.sources.original.environment import Environment

ADVICE = "copy or prepare the database again"
# Errors that LZ4, msgpack, zipfile and NumPy raise for truncated or damaged bytes.
_UNREADABLE = (
    *(OSError, EOFError, MemoryError, RuntimeError, SyntaxError, OverflowError),
    *(ValueError, TypeError, AttributeError, KeyError, tokenize.TokenError),
    *(msgpack.UnpackException, zipfile.BadZipFile, zlib.error),
)


@contextlib.contextmanager
def usable(where: str | Path) -> Iterator[None]:
    """Turns a Mistake in what is stored into an InputError that begins with `where`."""
    try:
        yield
    except Mistake as mistake:
        raise InputError(f"{where}: {mistake}: {ADVICE}") from mistake


@contextlib.contextmanager
def readable(where: str | Path) -> Iterator[None]:
    """Turns any error of reading bytes into an InputError that begins with `where`."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        why = f"{type(error).__name__}: {reason(error)}"
        raise InputError(f"{where} cannot be read ({why}): {ADVICE}") from error


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Environment]:
    """Opens an environment to read from it.

    Raises:
      InputError: the folder has no environment, or it is damaged; also for errors of reading it
        within the context.
    """
    path = folder / "data.mdb"
    if not path.is_file():
        raise InputError(f"{folder} is no database, it has no data.mdb: name another folder")
    with readable(path), Environment(path) as environment:
        yield environment


def names_of(keys: Iterable[bytes], folder: Path) -> list[str]:
    """Returns keys as text, without those of data about the database, such as `__keys__`."""
    with readable(folder):
        names = [key.decode() for key in keys]
    return [name for name in names if not (name.startswith("__") and name.endswith("__"))]


def read_object(path: Path) -> dict[str, Any]:
    """Reads the JSON object in a file of a database.

    Raises:
      InputError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: {ADVICE}")
    with usable(path):
        return as_object(read_json(path), "it")


def unpack(data: bytes, where: str) -> dict[str, Any]:
    """Returns the dictionary in a value, which is msgpack in an LZ4 frame.

    Raises:
      InputError: the value is damaged or holds something else.
    """
    with readable(where):
        value = msgpack.unpackb(lz4.frame.decompress(data))
    with usable(where):
        return as_object(value, "it")


def as_token_ids(value: object) -> tuple[int, ...]:
    """Returns the token ids in a field `input_ids`.

    Raises:
      Mistake: the field is something else.
    """
    ids = as_list(value, "input_ids")
    if not all(type(token) is int and 0 <= token < 2**31 for token in ids):
        raise Mistake(f"input_ids has to hold token ids, not {reprlib.repr(ids)}")
    return tuple(ids)
