"""Reads the values of the original's databases, which are folders with an LMDB environment."""

import contextlib
import reprlib
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import lz4.frame
import msgpack

from data.errors import InputError
from data.sources.json_files import Mistake, as_list, as_object, read_json

ADVICE = "copy or prepare the database again"
# Errors that LMDB, LZ4, msgpack, zipfile and NumPy raise for truncated or damaged bytes.
_UNREADABLE = (
    *(OSError, EOFError, MemoryError, RuntimeError, SyntaxError, OverflowError),
    *(ValueError, TypeError, AttributeError, KeyError, tokenize.TokenError),
    *(lmdb.Error, msgpack.UnpackException, zipfile.BadZipFile, zlib.error),
)
# A process must not have an environment open twice, so its threads read one after the other.
_OPENING = threading.Lock()


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
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{where} cannot be read ({why}): {ADVICE}") from error


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[lmdb.Transaction]:
    """Opens an environment to read from it.

    Raises:
      InputError: the folder has no environment, or it is damaged.
    """
    path = folder / "data.mdb"
    if not path.is_file():
        raise InputError(f"{folder} is no database, it has no data.mdb: name another folder")
    with (
        readable(folder),
        _OPENING,
        lmdb.open(
            str(folder), readonly=True, create=False, lock=False, readahead=False
        ) as environment,
    ):
        # LMDB maps the file into memory, and the process would crash beyond the file's end.
        size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if path.stat().st_size < size:
            raise InputError(f"{path} ends before its {size} bytes: copy it again")
        with environment.begin() as transaction:
            yield transaction


def names_of(keys: Iterable[bytes | memoryview], folder: Path) -> list[str]:
    """Returns keys as text, without those of data about the database, such as `__keys__`."""
    with readable(folder):
        names = [bytes(key).decode() for key in keys]
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


def unpack(data: bytes | memoryview, where: str) -> dict[str, Any]:
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
