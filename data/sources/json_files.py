"""JSON and JSON lines: read, and fields taken from them, mistakes in a row told from lost files."""

import contextlib
import json
import math
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from data.errors import InputError


class Mistake(ValueError):
    """What is wrong with one row of a file; the other rows can be used.

    The message begins with the field that it is about.
    """


@contextlib.contextmanager
def opened(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """A file of UTF-8 text, with or without a byte order mark; InputError if it is not one."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}): convert it") from error


def check_name(name: str, folder: Path) -> None:
    """InputError for a file whose name is no UTF-8, and so cannot be an id."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{folder} has a file whose name is not UTF-8 ({name!r}): rename it"
        ) from error


def decode(text: str) -> object:
    """The value that is written as JSON; Mistake if it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Mistake(f"it is not JSON ({error.msg}, character {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:  # Too long a number, or too deep a nesting.
        raise Mistake(f"it is not JSON that can be read ({error})") from error


def json_file(path: Path) -> object:
    """What a file of one JSON value holds; InputError if it does not."""
    with opened(path) as file:
        text = file.read()
    try:
        return decode(text)
    except Mistake as mistake:
        raise InputError(f"{path} cannot be used, {mistake}: correct it") from mistake


def json_lines(path: Path) -> Iterator[tuple[int, dict | Mistake]]:
    """The number of each line from 1, and the object on it or what is wrong with it.

    Lines of white space are passed over.

    Raises:
      InputError: the file cannot be read as text.
    """
    with opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, as_object(decode(line), "it")
            except Mistake as mistake:
                yield number, mistake


def as_object(value: object, name: str) -> dict:
    """A JSON object; Mistake, beginning with `name`, for anything else, as in all that follow."""
    return _checked(value, name, "an object in braces", isinstance(value, dict))


def as_list(value: object, name: str) -> list:
    return _checked(value, name, "a list", isinstance(value, list))


def as_string(value: object, name: str) -> str:
    """A string, maybe empty, that can be written as UTF-8."""
    _checked(value, name, "a string", isinstance(value, str))
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Mistake(f"{name} has half of a surrogate pair") from error
    return value


def as_number(value: object, name: str) -> float:
    """A finite number."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    _checked(value, name, "a number", is_one)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Mistake(f"{name} is not finite")
    return number


def as_span(value: object, name: str) -> tuple[float, float]:
    """`[start, end]`: see `check_span`."""
    _checked(value, name, "[start, end]", isinstance(value, list) and len(value) == 2)
    return check_span(as_number(value[0], name), as_number(value[1], name), name)


def check_span(start: float, end: float, name: str) -> tuple[float, float]:
    """Both, unless the span begins before 0, ends before it begins or is not finite."""
    if not 0 <= start <= end < math.inf:
        raise Mistake(f"{name} goes from {start} to {end}")
    return start, end


def text(record: dict, name: str) -> str:
    """The string `record[name]`, which is not blank."""
    value = as_string(record.get(name), name)
    if not value.strip():
        raise Mistake(f"{name} is empty")
    return value


def text_if_any(record: dict, name: str) -> str:
    """Like `text`; '' where the field is missing or null."""
    return "" if record.get(name) is None else text(record, name)


def identifier(record: dict, name: str) -> str:
    """The whole number or string `record[name]` as a string."""
    value = record.get(name)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    _checked(value, name, "a whole number or a string", is_whole or isinstance(value, str))
    return str(value) if is_whole else text(record, name)


def choice(record: dict, name: str, num_answers: int) -> int:
    """Which of the answers is right, from 0; -1 where the field is missing."""
    value = record.get(name)
    if value is None:
        return -1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < num_answers:
        raise Mistake(
            f"{name} has to be a whole number from 0 to {num_answers - 1}, "
            f"not {reprlib.repr(value)}"
        )
    return value


def truth(record: dict, name: str) -> int:
    """1 for true or 1, 0 for false or 0; -1 where the field is missing."""
    value = record.get(name)
    if value is None:
        return -1
    if not isinstance(value, int) or value not in (0, 1):
        raise Mistake(f"{name} has to be true or false, not {reprlib.repr(value)}")
    return int(value)


def _checked(value, name: str, kind: str, is_one: bool):
    if value is None:
        raise Mistake(f"{name} is missing")
    if not is_one:
        raise Mistake(f"{name} has to be {kind}, not {reprlib.repr(value)}")
    return value
