"""Writes files atomically, under a lock, and with a clear error if the disk is full."""

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from data.errors import InputError

# Error numbers for a full disk, for a disk that cannot be written to, and for impossible paths.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_DISK = (*NO_ROOM, errno.EROFS, errno.EACCES, errno.EIO)
NO_WRITING = (*NO_DISK, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# Error numbers of file systems without locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Names, in lower case, of what systems and servers leave in folders.
_LEFTOVERS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
        *("__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found"),
    )
)


def passed_over(name: str) -> bool:
    """Returns whether a file or folder is hidden, or was left by macOS, Windows or a server."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Returns numbers of which one changes when a file is changed or replaced, None for no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


@contextlib.contextmanager
def writing_to(
    place: str | os.PathLike, advice: str, failures: Sequence[int] = NO_WRITING
) -> Iterator[None]:
    """Turns the system's write errors into an InputError about a file or folder.

    Args:
      place: the file or folder that the message names.
      advice: the end of the message: what to do, or the state of the place.
      failures: error numbers to turn into an InputError; other errors pass unchanged.

    Raises:
      InputError: writing failed with one of these error numbers.
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


def system_reason(error: BaseException | None, failures: Sequence[int] = NO_WRITING) -> str | None:
    """Returns the system's message for the failure behind an error, None for any other failure."""
    while error is not None:
        for number in failures:
            # TensorStore and TensorFlow report the system's message only as text.
            in_text = number in NO_DISK and os.strerror(number) in str(error)
            if getattr(error, "errno", None) == number or in_text:
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, alone: bool = False) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` at the end, and is removed after an error.

    Readers see either the old file or the complete new one. The temporary file is in the same
    folder and has the same suffix.

    Args:
      alone: whether no other program writes the file at the same time. Then the temporary file has
        the same name each time, so that those of killed programs do not pile up.
    """
    path = Path(path)
    name = f"{path.stem}.new" if alone else uuid.uuid4().hex
    temporary = path.with_name(f".{name}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        # On a disk that has become read-only, the temporary file cannot be removed either.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside `path` that takes its place at the end, and is removed after an error.

    Hidden files and leftovers of the system may lie at `path` before; they stay.

    Raises:
      InputError: there is something at `path` before or at the end, or it cannot be written to.
    """
    exists = f"{path} exists already: choose another folder, or move it away"
    leftovers = [*path.iterdir()] if path.is_dir() else []
    if path.exists() and not (path.is_dir() and all(passed_over(file.name) for file in leftovers)):
        raise InputError(exists)
    with writing_to(path, "choose another place"):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield made
            made.chmod(0o755)
            _take_place(made, path, leftovers)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and path.exists():
                # Another program has taken the place in the meantime.
                raise InputError(exists) from error
            raise
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _take_place(made: Path, path: Path, leftovers: Iterable[Path]) -> None:
    """Moves a folder to where there is none, or one of leftovers, which stay."""
    moved = [file.replace(made / file.name) for file in leftovers]
    try:
        made.replace(path)
    except OSError:
        for file in moved:
            file.replace(path / file.name)
        raise


@contextlib.contextmanager
def locked(path: Path, busy: str, advice: str) -> Iterator[None]:
    """Holds a lock on a file, which the system releases when the program ends in any way.

    The file tells who holds it, and stays.

    Args:
      path: the lock file; it is created if it does not exist.
      busy: the beginning of the message of the error if another program holds the lock, as "DIR is
        being written to".
      advice: its end: what to do.

    Raises:
      InputError: another program holds the lock.
      OSError: the file cannot be created, or is on a file system without locks.
    """
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another program"
            raise InputError(f"{busy} by {holder}: {advice}") from error
        began = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        _write_holder(file, f"process {os.getpid()} on {socket.gethostname()} since {began}\n")
        try:
            yield
        finally:
            _write_holder(file, "")


def _write_holder(file: BinaryIO, text: str) -> None:
    # A full disk keeps nobody from holding the lock.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(text.encode())
        file.flush()
