"""Films that are added while the server runs: uploads, and what lies in the folder of films."""

import asyncio
import collections
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from data.errors import InputError, reason
from data.files import passed_over, replacing, writing_to
from data.sources.names import VIDEO_EXTENSIONS
from data.sources.subtitle_formats.registry import EXTENSIONS
from hero_jax.search.server.archive import Unknown
from hero_jax.search.server.catalog import is_inside

# Takes a film or folder, and what is told of the progress: a share, and a few words. Returns what
# became of the films: numbers by name, and notes.
Add = Callable[[Path, Callable[[float, str], None]], dict[str, object]]
# Additions whose events can be read.
KEPT = 100
# Bytes of the longest name that every file system takes.
_LONGEST_NAME = 255
# Seconds after which a stream of events says that it is still there.
_SILENCE = 15


class _Addition:
    """An addition, and what is to be told of it."""

    def __init__(self) -> None:
        self.share, self.state = 0.0, "waits"
        self.ended: dict[str, object] | None = None
        self._changed = asyncio.Event()

    def tell(self, share: float, state: str) -> None:
        """Takes the progress."""
        self.share, self.state = share, state
        self._changed.set()

    def end(self, **outcome: object) -> None:
        """Takes the outcome."""
        self.ended = outcome
        self._changed.set()

    async def events(self, closing: asyncio.Event) -> AsyncIterator[bytes]:
        """Yields the progress and the outcome as server-sent events."""
        while not closing.is_set():
            self._changed.clear()
            yield _event("progress", {"share": self.share, "state": self.state})
            if self.ended is not None:
                yield _event("end", self.ended)
                return
            waits = [asyncio.ensure_future(one.wait()) for one in (self._changed, closing)]
            try:
                await asyncio.wait(waits, timeout=_SILENCE, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()


def _event(name: str, fields: dict[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(fields))


class Intake:
    """Adds films to the index, one addition after another."""

    def __init__(self, videos: Path, add: Add):
        """Takes the folder of films, without symbolic links, and what adds those at a place."""
        self._videos, self._add_films = videos, add
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._additions: collections.OrderedDict[int, _Addition] = collections.OrderedDict()
        self._count = 0
        self._writing: set[str] = set()

    async def upload(self, name: str, content: AsyncIterator[bytes]) -> str:
        """Writes a film, or a file of subtitles, into the folder of films.

        Raises:
          InputError: it is neither by its name, there is such a file, or there is no room.
        """
        suffix = Path(name).suffix.lower()
        is_plain = Path(name).name == name and not passed_over(name) and name.isprintable()
        is_plain = is_plain and len(name.encode()) <= _LONGEST_NAME
        if not is_plain or not (suffix[1:] in VIDEO_EXTENSIONS or suffix in EXTENSIONS):
            raise InputError(f"{name!r} is no name of a film or of subtitles: give it another")
        path = self._videos / name
        if path.exists() or name in self._writing:
            raise InputError(f"there is a file {name!r} already: give it another name")
        self._writing.add(name)
        try:
            with (
                writing_to(path, "make room"),
                replacing(path) as temporary,
                temporary.open("wb") as file,
            ):
                async for chunk in content:
                    await asyncio.to_thread(file.write, chunk)
        finally:
            self._writing.discard(name)
        return name

    def start(self, path: str) -> int:
        """Begins to add a film or folder of the folder of films, and returns its number.

        Raises:
          Unknown: there is no such film or folder in the folder.
        """
        place = Path(os.path.normpath(self._videos / path))
        is_film = place.suffix.lower()[1:] in VIDEO_EXTENSIONS
        if not is_inside(self._videos, place) or not (is_film or place.is_dir()):
            raise Unknown(f"there is no film or folder {path!r} in the folder of films")
        self._count += 1
        addition = self._additions[self._count] = _Addition()
        while len(self._additions) > KEPT:
            self._additions.popitem(last=False)
        loop = asyncio.get_running_loop()

        def in_loop(function: Callable[..., None], *arguments: object) -> None:
            loop.call_soon_threadsafe(function, *arguments)

        self._thread.submit(self._add, place, addition, in_loop)
        return self._count

    def _add(self, place: Path, addition: _Addition, in_loop: Callable[..., None]) -> None:
        def watch(share: float, state: str) -> None:
            in_loop(addition.tell, share, state)

        try:
            outcome = self._add_films(place, watch)
        except InputError as error:
            outcome = {"error": str(error)}
        except Exception as error:
            outcome = {"error": f"the server has a fault ({reason(error)})"}
            raise
        finally:
            in_loop(lambda: addition.end(**outcome))

    def events(self, number: int, closing: asyncio.Event) -> AsyncIterator[bytes]:
        """Returns the events of an addition; raises Unknown if there is none of this number."""
        if number not in self._additions:
            raise Unknown(f"there is no addition {number}")
        return self._additions[number].events(closing)

    def close(self) -> None:
        """Waits for the film that is being added; the others are added the next time."""
        self._thread.shutdown(cancel_futures=True)
