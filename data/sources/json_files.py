"""Reads JSON and JSON lines and takes checked fields from them.

A wrong file raises InputError, a wrong row of a file raises `Mistake`: the other rows can be used.
"""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from data.errors import InputError, reason
from data.text import open_text, read_text

Kind = TypeVar("Kind")


class Mistake(ValueError):
    """An error in one row of a file; the other rows can be used.

    The message begins with the name of the field.
    """


def check_file_name(name: str, folder: Path) -> None:
    """Checks that a file's name can be an id.

    Raises:
      InputError: the name is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{folder} has a file whose name is not UTF-8 ({name!r}): rename it"
        ) from error


def parse_json(text: str) -> object:
    """Parses a JSON value.

    Raises:
      Mistake: the text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Mistake(f"it is not JSON ({error.msg}, character {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:  # Too long a number, or too deep nesting.
        raise Mistake(f"it is not JSON that can be read ({reason(error)})") from error


def read_json(path: Path) -> object:
    """Reads a file of one JSON value.

    Raises:
      InputError: the file cannot be read, or is not JSON.
    """
    try:
        return parse_json(read_text(path))
    except Mistake as mistake:
        raise InputError(f"{path} cannot be used, {mistake}: correct it") from mistake


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | Mistake]]:
    """Yields the number of each line, from 1, and its object or the mistake in it.

    Blank lines are skipped.

    Raises:
      InputError: the file cannot be read as text.
    """
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, as_object(parse_json(line), "it")
            except Mistake as mistake:
                yield number, mistake


def as_object(value: object, name: str) -> dict[str, Any]:
    """Returns a JSON object.

    Args:
      name: the field's name, for messages.

    Raises:
      Mistake: the value is something else.
    """
    return _checked(value, name, "an object in braces", dict)


def as_list(value: object, name: str) -> list[Any]:
    """Returns a JSON list; see `as_object`."""
    return _checked(value, name, "a list", list)


def as_string(value: object, name: str) -> str:
    """Returns a string, which may be empty but can be written as UTF-8; see `as_object`."""
    string = _checked(value, name, "a string", str)
    if not string.isascii():
        try:
            string.encode()
        except UnicodeEncodeError as error:
            raise Mistake(f"{name} has half of a surrogate pair") from error
    return string


def as_number(value: object, name: str) -> float:
    """Returns a finite number; see `as_object`."""
    try:
        number = float(_checked(value, name, "a number", int, float))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Mistake(f"{name} is not finite")
    return number


def as_positive(value: object, name: str) -> float:
    """Returns a finite number above 0; see `as_object`."""
    number = as_number(value, name)
    if number <= 0:
        raise Mistake(f"{name} is {number}")
    return number


def as_moment(value: object, name: str) -> tuple[float, float]:
    """Returns the numbers of a list `[start, end]` that `check_moment` accepts; see `as_object`."""
    match value:
        case None:
            raise Mistake(f"{name} is missing")
        case [start, end]:
            return check_moment(as_number(start, name), as_number(end, name), name)
    raise _unlike(value, name, "[start, end]")


def as_span(value: object, name: str) -> tuple[float, float]:
    """Returns the numbers of a list `[start, end]` that `check_span` accepts; see `as_object`."""
    return check_span(*as_moment(value, name), name)


def check_moment(start: float, end: float, name: str) -> tuple[float, float]:
    """Returns `(start, end)`, which may lie outside the clip: placement finds the part inside.

    Raises:
      Mistake: the moment ends before it starts, or is not finite.
    """
    if not -math.inf < start <= end < math.inf:
        raise Mistake(f"{name} goes from {start} to {end}")
    return start, end


def check_span(start: float, end: float, name: str) -> tuple[float, float]:
    """Returns `(start, end)`.

    Raises:
      Mistake: the span starts before 0, ends before it starts, or is not finite.
    """
    if start < 0:
        raise Mistake(f"{name} goes from {start} to {end}")
    return check_moment(start, end, name)


def required_text(record: Mapping[str, Any], name: str) -> str:
    """Returns the field `name`, a string.

    Raises:
      Mistake: the field is missing, blank or something else.
    """
    value = as_string(record.get(name), name)
    if not value.strip():
        raise Mistake(f"{name} is empty")
    return value


def optional_text(record: Mapping[str, Any], name: str) -> str:
    """Returns '' for a missing or null field, else the same as `required_text`."""
    return "" if record.get(name) is None else required_text(record, name)


def identifier(record: Mapping[str, Any], name: str) -> str:
    """Returns the field `name`, an integer or a string, as a string.

    Raises:
      Mistake: the field is missing, blank or something else.
    """
    value = _checked(record.get(name), name, "a whole number or a string", int, str)
    return str(value) if isinstance(value, int) else required_text(record, name)


def optional_index(record: Mapping[str, Any], name: str, length: int) -> int:
    """Returns the field `name`, an index below `length`; -1 for a missing or null field.

    Raises:
      Mistake: the field is something else.
    """
    value = record.get(name)
    if value is None:
        return -1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < length:
        raise _unlike(value, name, f"a whole number from 0 to {length - 1}")
    return value


def optional_truth(record: Mapping[str, Any], name: str) -> int:
    """Returns 1 for true or 1, 0 for false or 0, and -1 for a missing or null field.

    Raises:
      Mistake: the field is something else.
    """
    value = record.get(name)
    if value is None:
        return -1
    if not isinstance(value, int) or value not in (0, 1):
        raise _unlike(value, name, "true or false")
    return int(value)


def _checked(value: object, name: str, description: str, *kinds: type[Kind]) -> Kind:
    """Returns the value, which has to be of one of these kinds; a boolean is no number."""
    if value is None:
        raise Mistake(f"{name} is missing")
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise _unlike(value, name, description)
    return value


def _unlike(value: object, name: str, description: str) -> Mistake:
    return Mistake(f"{name} has to be {description}, not {reprlib.repr(value)}")
