"""What all commands share: arguments that are paths, and ends with one sentence and status 1."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from data.arguments import user_path
from data.errors import InputError


def path_argument(text: str) -> Path:
    """Returns a path of the command line, the `type` of `argparse` for each; see `user_path`."""
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
