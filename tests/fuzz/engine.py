"""Damages small valid files at random, and checks what their readers make of them.

A reader has to return a result or raise an InputError of one line, within `SECONDS`, without taking
more memory than a bound that grows with the files.
"""

import contextlib
import dataclasses
import faulthandler
import hashlib
import io
import mmap
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from data.errors import InputError
from tests.paths import ROOT, TESTDATA

CORPUS = TESTDATA / "fuzz"
# Of the processor.
SECONDS = 5
# By the clock, in which an input is read, and then made smaller, on a machine that is busy too.
LONGEST = 60 * SECONDS
MEMORY, MEMORY_PER_BYTE = 16 << 20, 256
# What libraries may take besides, as when they are used for the first time.
RESIDENT = 512 << 20
LONGEST_MESSAGE = 2_000
# Inputs that one process reads: a crash ends no more than these.
BATCH = 300
NUMBERS = (
    *(b"0", b"-1", b"-0.0", b"1e999", b"NaN", b"-Infinity", b"1e-320", b"1e18", b"9" * 5_000),
    *(b"2147483648", b"4294967295", b"9223372036854775808", b"18446744073709551616"),
)
TOKENS = (
    *(b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b"[" * 20_000, b'{"a":' * 20_000),
    *(b"\n", b"\r\n", b"\r", b"\t", b"\0", b"-", b":", b",", b'"', b"{", b"]", b"<", b"&#0;"),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\0\0", b"\x1a", b"\x85"),
    *map(str.encode, ("\u2028", "\u0663", "\u00b2", "\U0001f600", "e\u0301")),
)
# Where numbers, strings and words are looked for in a file that earlier changes made long.
LOOKED_AT = 50_000
_WORDS = rb'-?\d[\d.]*|"[^"\n]*"|[a-zA-Z]+'
BINARY = (b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\xff" * 8)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of files, and files that it reads.

    make: writes valid files to an empty folder.
    read: reads the files of a folder, and yields the messages of its reports.
    alone: whether each file is read without the others.
    seal: renews the checksum in a changed file, given the file's path.
    threads: whether a library reads with threads of its own. Then `tracemalloc` would crash, which
      other threads must not allocate beside; and the tests read few inputs, as each takes long.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Iterable[str]]
    alone: bool = False
    seal: Callable[[str, bytes], bytes] | None = None
    threads: bool = False

    def files(self) -> dict[str, bytes]:
        """Returns the content of the valid files by path."""
        with tempfile.TemporaryDirectory() as folder:
            self.make(Path(folder))
            paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def warm_up(reader: Reader) -> None:
    """Reads valid files, so that libraries that take time to start do not take it of an input."""
    files = reader.files()
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), dict([next(iter(files.items()))]) if reader.alone else files)
        list(reader.read(Path(folder)))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


class TooLong(BaseException):
    """Raised by the alarm; no reader turns it into an error of its own."""


def _ring(*_: object) -> None:
    raise TooLong


def fault_of(reader: Reader, files: Mapping[str, bytes], path: str) -> str:
    """Reads files, one of which was changed.

    Returns:
      What is wrong and where, '' if nothing is.
    """
    content = {path: files[path]} if reader.alone else files
    before = signal.signal(signal.SIGPROF, _ring)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write(Path(folder), content)
        resident = _most_resident()
        if not reader.threads:
            tracemalloc.start()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            messages = [*reader.read(Path(folder))]
        except InputError as error:
            messages = [str(error)]
        except BaseException as error:
            return _described(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            grown = _most_resident() - resident
    allowed = MEMORY_PER_BYTE * sum(map(len, content.values()))
    for used, least in (memory, MEMORY), (grown, RESIDENT):
        if used > least + allowed:
            return f"too much memory ({used >> 20} MiB)"
    for message in messages:
        if len(message.splitlines()) != 1 or len(message) > LONGEST_MESSAGE:
            return f"no sentence of one line: {message[:200]!a}"
    return ""


def _most_resident() -> int:
    """Returns the most bytes that this process ever had in memory, libraries' included."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _described(error: BaseException) -> str:
    frames = [
        f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename
    ]
    return f"{type(error).__name__} at {frames[-1]} ({str(error)[:200]!a})"


def signature(fault: str) -> str:
    """Returns what is the same for all inputs that show the same fault."""
    return re.sub(r"\(.*|: .*", "", fault, flags=re.DOTALL)


def mutated(rng: random.Random, content: bytes, words: list[bytes]) -> bytes:
    """Returns a file with one or a few changes; those to an archive may be within a member."""
    if content[:2] == b"PK" and rng.random() < 0.7:
        return _with_member(content, lambda member: mutated(rng, member, words), rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        begin = rng.randrange(len(content) + 1)
        end = min(len(content), begin + rng.choice((1, 1, 2, 4, 8, 30, len(content))))
        found = [m.span() for m in re.finditer(_WORDS, content[:LOOKED_AT])]
        match rng.randrange(7):
            case 0:  # Flips a bit.
                end = min(len(content), begin + 1)
                new = bytes(byte ^ (1 << rng.randrange(8)) for byte in content[begin:end])
            case 1:  # Cuts.
                new = b""
            case 2:  # Repeats.
                new = content[begin:end] * rng.choice((2, 2, 3, 50))
            case 3:  # Inserts.
                end, new = begin, rng.choice([*TOKENS, *NUMBERS, *words])
            case 4:
                new = rng.choice(BINARY)
                end = min(len(content), begin + len(new))
            case _ if found:  # Replaces a number, a string or a word.
                begin, end = rng.choice(found)
                is_number = content[begin : begin + 1] in b"-0123456789"
                choices = NUMBERS if is_number and rng.random() < 0.6 else [*TOKENS, *words]
                new = rng.choice(choices)
            case _:
                new = rng.randbytes(end - begin)
        content = content[:begin] + new + content[end:]
    return content


def _with_member(content: bytes, change: Callable[[bytes], bytes], rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([*members])
    members[name] = change(members[name])
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return written.getvalue()


def inputs(reader: Reader, seed: int) -> Iterator[Callable[[], tuple[dict[str, bytes], str]]]:
    """Yields functions that make the files of each input and the path of the one that is changed.

    An input depends on the reader, the seed and its number.
    """
    files = reader.files()
    words = sorted(set(re.findall(rb"\w+|[^\w\s]+", b" ".join(files.values())[:20_000])))

    def make(number: int) -> tuple[dict[str, bytes], str]:
        rng = random.Random(f"{reader.name} {seed} {number}")
        path = rng.choice([*files])
        content = mutated(rng, files[path], words)
        if reader.seal and rng.random() < 0.7:
            content = reader.seal(path, content)
        return files | {path: content}, path

    number = 0
    while True:
        yield lambda number=number: make(number)
        number += 1


def smallest(reader: Reader, files: dict[str, bytes], path: str, fault: str) -> bytes:
    """Cuts the changed file for as long as the fault stays the same."""
    content, size = files[path], len(files[path]) // 2
    until = time.monotonic() + 4 * SECONDS
    while size and time.monotonic() < until:
        for begin in range(0, len(content), size):
            shorter = content[:begin] + content[begin + size :]
            if signature(fault_of(reader, files | {path: shorter}, path)) == signature(fault):
                content = shorter
                break
        else:
            size //= 2
    return content


def saved_name(reader: Reader, path: str, fault: str) -> str:
    """Returns the name of the file that keeps an input; `path_of` is its inverse."""
    digest = hashlib.sha256(f"{path} {signature(fault)}".encode()).hexdigest()[:8]
    return f"{reader.name}-{digest}-{path.replace('/', '+')}"


def path_of(saved: Path) -> str:
    """Returns the path, among a reader's files, of an input that was saved."""
    return saved.name.split("-", 2)[2].replace("+", "/")


def campaign(reader: Reader, seed: int, seconds: float, out: Path) -> tuple[int, int]:
    """Reads inputs until the time is over; returns how many, and how many faults are new in `out`.

    Batches are read in processes of their own, so that a crash is a fault like any other.
    """
    known, tried, until = {*out.iterdir()}, 0, time.monotonic() + seconds
    made = inputs(reader, seed)
    progress = mmap.mmap(-1, 8)
    while time.monotonic() < until:
        batch = [next(made) for _ in range(BATCH)]
        progress[:] = bytes(8)
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(KeyboardInterrupt):
                _read_batch(reader, batch, out, progress, until)
                status = 0
            os._exit(status)
        status = _wait(child, progress)
        done = int.from_bytes(progress, "little")
        tried += done
        if status:
            files, path = batch[done - 1]()
            _save(reader, path, files[path], f"crash with status {status}", out)
    return tried, len({*out.iterdir()} - known)


def _wait(child: int, progress: mmap.mmap) -> int:
    """Returns the status of a process, which is ended if it reads one input for too long.

    An alarm does not end an endless loop in C.
    """
    seen, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if progress[:] != seen:
            seen, since = progress[:], time.monotonic()
        elif time.monotonic() - since > LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.05)


def _read_batch(reader: Reader, batch: list, out: Path, progress: mmap.mmap, until: float) -> None:
    faulthandler.enable()
    warm_up(reader)
    for number, make in enumerate(batch, 1):
        if time.monotonic() > until:
            return
        progress[:] = number.to_bytes(8, "little")
        files, path = make()
        fault = fault_of(reader, files, path)
        if fault and not (out / saved_name(reader, path, fault)).exists():
            _save(reader, path, smallest(reader, files, path, fault), fault, out)


def _save(reader: Reader, path: str, content: bytes, fault: str, out: Path) -> None:
    saved = out / saved_name(reader, path, fault)
    saved.write_bytes(content)
    print(f"{fault}\n  repeat with: python -m tests.fuzz {saved}", flush=True)
