"""Reads the arguments of commands, and ends commands with a sentence."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from data.arguments import user_path
from data.errors import InputError

# Lengths are bounded: `Fraction` takes forever for 1e999999999.
_SECONDS = re.compile(r"[0-9]{1,9}/[0-9]{1,9}|[0-9]{0,9}(?:[.][0-9]{0,30})?(?:e[+-]?[0-9])?", re.I)


class Parser(argparse.ArgumentParser):
    """A parser that takes what begins with a hyphen, as ids do, for a value if it is no flag.

    What begins with two is more often a misspelt flag: it is refused with the spelling of a value.
    Descriptions keep their lines, so that commands in them can be copied.
    """

    given: Sequence[str] = ()

    def __init__(self, *arguments: Any, **settings: Any):
        """Makes a parser; the arguments are those of the base class."""
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments as the base class does, and keeps them for messages."""
        self.given = sys.argv[1:] if args is None else [*args]
        return super().parse_known_args(self.given, namespace)

    # The base class has no public method that decides what a flag is.
    def _parse_optional(self, arg_string: str) -> Any:
        name = arg_string.partition("=")[0]
        # `-top` is `--top`, misspelt.
        is_flag = {name, f"-{name}"} & self._option_string_actions.keys()
        if arg_string[:1] == "-" != arg_string[1:2] and not is_flag:
            return None
        return super()._parse_optional(arg_string)

    def error(self, message: str) -> NoReturn:
        """Prints the usage and the message, and exits with status 2."""
        flag = re.match(r"argument (--\w+).*: expected one argument", message)
        if flag and flag[1] in self.given[:-1]:
            value = self.given[self.given.index(flag[1]) + 1]
            message += f" (if that is {value}, write {flag[1]}={value})"
        elif "arguments are required" in message:
            message += self._advice(self.given)
        elif "unrecognized arguments: " in message:
            message += self._advice(message.partition(": ")[2].split())
        super().error(message)

    def _advice(self, arguments: Iterable[str]) -> str:
        """Returns the end of a message about arguments of which one may be an id."""
        names = [name for name in arguments if name.startswith("--") and name != "--"]
        unknown = [n for n in names if n.partition("=")[0] not in self._option_string_actions]
        return f" (if {unknown[0]} is no flag, write it last, after --)" if unknown else ""


def path_argument(text: str) -> Path:
    """Returns a path of the command line, the `type` of `argparse` for each; see `user_path`."""
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seconds_argument(text: str) -> Fraction:
    """Returns a number of seconds above 0, as `3/2`, `1.5` or `2`: the `type` of `argparse`."""
    try:
        seconds = Fraction(text) if _SECONDS.fullmatch(text) else Fraction(0)
    except (ValueError, ZeroDivisionError):
        seconds = Fraction(0)
    if not seconds:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0, as 3/2, 1.5 or 2"
        )
    return seconds


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Takes SIGTERM for Ctrl-C, so that work ends in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def ends_with_a_sentence(interrupted: str = "interrupted") -> Iterator[None]:
    """Exits with `error: ` and a sentence instead of a traceback, for errors the user can fix.

    A closed pipe ends the program quietly, because the reader of its output has seen enough.

    Args:
      interrupted: the sentence for Ctrl-C.

    Raises:
      SystemExit: with the sentence, for InputError, PermissionError and KeyboardInterrupt.
    """
    try:
        yield
        sys.stdout.flush()
    except InputError as error:
        sys.exit(f"error: {error}")
    except PermissionError as error:
        sys.exit(f"error: {error.filename} may not be read or written: see who owns it")
    except KeyboardInterrupt:
        sys.exit(f"error: {interrupted}")
    except BrokenPipeError:
        # Otherwise Python reports the closed pipe again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
