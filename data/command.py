"""The way every command ends: with its result, or with one sentence and status 1."""

import contextlib
import os
import sys
from collections.abc import Iterator

from data.errors import InputError


@contextlib.contextmanager
def ends_with_a_sentence(interrupted: str = "interrupted") -> Iterator[None]:
    """Ends the program with `error: ` and a sentence instead of a traceback if the user can act.

    A closed pipe ends it quietly: whoever reads its output has seen enough.

    Args:
      interrupted: sentence for Ctrl-C.
    """
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
    except PermissionError as error:
        sys.exit(f"error: {error.filename} may not be read or written: see who owns it")
    except KeyboardInterrupt:
        sys.exit(f"error: {interrupted}")
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
