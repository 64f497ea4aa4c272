"""Arguments of public functions: a wrong one is refused in a sentence that names it.

A string is never taken for the list of its letters, and `~` is the home directory in every path.
"""

import contextlib
import math
import numbers
import operator
import os
import reprlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from data.errors import InputError

_Item = TypeVar("_Item")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def refusal(name: str, value: object, needed: str) -> InputError:
    """Returns the error about an argument; `needed` says what to give instead."""
    return InputError(f"{name} is {described(value)}: give {needed}")


def described(value: object) -> str:
    """Describes any value in a few words on one line."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None and not isinstance(value, numbers.Number):
        return f"{dtype}{list(shape)}"
    text = " ".join(_SHORT.repr(value).split())
    return text if value is None or isinstance(value, str) else f"{text} ({type(value).__name__})"


def user_path(path: str | os.PathLike, name: str = "the path") -> Path:
    """Returns a path that a user gave, with `~` and `~USER` replaced as a shell does.

    Raises:
      InputError: it is empty or no path, or the home directory is not known.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise refusal(name, path, "a path, as a string")
    text = os.path.expanduser(os.fspath(path))
    try:
        usable = bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise refusal(name, text, "the path of a file or folder")
    expanded = Path(text)
    if expanded.parts[:1] == ("~",):
        raise InputError(f"{path} is in a home directory that is not known: set HOME")
    return expanded


def text(value: object, name: str) -> str:
    """Returns a string; raises InputError for anything else, and for lone surrogates."""
    if not isinstance(value, str):
        raise refusal(name, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise refusal(name, value, "text that can be written in UTF-8") from error
    return str(value)


def texts(values: Iterable[str], name: str) -> list[str]:
    """Returns several strings; raises InputError for one alone, and for anything else."""
    return [text(value, f"{name}[{n}]") for n, value in enumerate(several(values, name, "strings"))]


def several(values: Iterable[_Item], name: str, kind: str) -> Iterator[_Item]:
    """Returns an iterator; raises InputError for a string or path, and for what has no items.

    Args:
      kind: what they are, in the plural.
    """
    if isinstance(values, str | bytes | os.PathLike):
        raise refusal(name, values, f"a list of {kind}, even of one")
    try:
        return iter(values)
    except TypeError as error:
        raise refusal(name, values, f"a list of {kind}") from error


def instances(values: Iterable[_Item], name: str, kind: type, source: str) -> Iterator[_Item]:
    """Yields the items of a list; raises InputError for one that is not of a class.

    Args:
      source: where users get such an item from.
    """
    for n, value in enumerate(several(values, name, f"{kind.__name__} objects")):
        instance(value, f"{name}[{n}]", kind, source)
        yield value


def instance(value: object, name: str, kind: type, source: str) -> None:
    """Raises InputError for a value that is not of a class; see `instances`."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        raise refusal(name, value, f"{article} {kind.__name__}, as {source}")


def choice(value: object, name: str, choices: Collection[str]) -> str:
    """Returns one of some strings; raises InputError for anything else."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {described(value)}: choose one of {', '.join(choices)}")
    return value


def number(value: Any, name: str) -> float:
    """Returns a finite number; raises InputError for anything else."""
    if getattr(value, "shape", None) == ():
        value = value.item()  # A number of an array.
    if isinstance(value, numbers.Real):
        with contextlib.suppress(OverflowError):
            if math.isfinite(converted := float(value)):
                return converted
    raise refusal(name, value, "a finite number")


def whole(value: Any, name: str, least: int | None = None) -> int:
    """Returns a whole number of at least `least`; raises InputError for anything else."""
    needed = "a whole number" if least is None else f"a whole number, at least {least}"
    try:
        converted = operator.index(value)
    except TypeError as error:
        raise refusal(name, value, needed) from error
    if least is not None and converted < least:
        raise refusal(name, converted, needed)
    return converted
