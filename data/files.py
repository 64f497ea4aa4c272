"""Writing files: whole or not at all, one program at a time, a sentence if the disk is full."""

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError

# Error numbers of a disk without room, of one that cannot be written to, and of impossible paths.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_DISK = (*NO_ROOM, errno.EROFS, errno.EACCES, errno.EIO)
NO_WRITING = (*NO_DISK, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


@contextlib.contextmanager
def writing_to(place: str | os.PathLike, advice: str, failures=NO_WRITING) -> Iterator[None]:
    """Raises failures of the system to write as an InputError about the place.

    Args:
      place: file or folder, as the sentence names it.
      advice: end of the sentence: what to do, or what state the place is in.
      failures: error numbers to do this for; other errors pass as they are.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = system_reason(error, failures)
        if reason is None:
            raise
        raise InputError(f"{place} could not be written to ({reason}): {advice}") from error


def system_reason(error: BaseException | None, failures=NO_WRITING) -> str | None:
    """Words of the system for the failure behind an error, None if it is none of these."""
    while error is not None:
        for number in failures:
            # TensorStore and TensorFlow report what the system said as text.
            said = number in NO_DISK and os.strerror(number) in str(error)
            if getattr(error, "errno", None) == number or said:
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path beside another that takes its place at the end, and is removed after an error.

    Readers see the old file or the whole new one. The temporary name has the suffix of the path.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        # On a disk that has become read-only, the file cannot be removed either.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Holds a lock on a file that is made for it; the system unlocks it when the program ends.

    Raises:
      InputError: another program holds it; the refusal is its sentence.
      OSError: the file cannot be made.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        yield
