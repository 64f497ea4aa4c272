"""Adding films to an index: what is new or changed is decoded, and nothing else.

It needs the packages that decode films, which the rest of the search does not.
"""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data.arguments import text, user_path
from data.errors import InputError
from data.report import Report
from data.video.films import films_in
from hero_jax.extract.films import FoundFilm, with_subtitles
from hero_jax.extract.progress import FilmProgress
from hero_jax.index import StoreWriter, open_index, open_writer
from hero_jax.inference.model import CLIPS_AT_ONCE, Model
from hero_jax.inference.windows import clip_of_window, windows
from hero_jax.search import thumbnails
from hero_jax.search.book import Book, Indexed, KnownFilm, read_state
from hero_jax.search.engine import add_encoded, check_model
from hero_jax.search.reading import Decoded, Reading, decode

# Films wait for others to fill the model's batch, but no longer than so many seconds.
LONGEST_WAIT = 60.0

LEFT_OUT = "films that cannot be used"
AS_BEFORE = "films that cannot be used as they are now: the index has them as they were before"
TAKEN = "films with the name of another film of the index: rename them"
GONE = "films of the index that are no longer there"
NO_ROOM = "films for whose pictures there is no room: they are in the index without"


@dataclasses.dataclass
class Added:
    """Numbers of a folder's films by what was done with them; see `add_films`.

    added, replaced: decoded and encoded, and before that not in the index, or of another content.
    renamed: with a content that the index has under another name, so that they were not decoded.
    unchanged: in the index before.
    dropped: no longer in the folder, and now no longer in the index.
    report: of what was left out, and why.
    """

    added: int = 0
    replaced: int = 0
    renamed: int = 0
    unchanged: int = 0
    dropped: int = 0
    report: Report = dataclasses.field(default_factory=Report)


def find(folder: str | os.PathLike, language: str, report: Report) -> tuple[Path, list[FoundFilm]]:
    """Finds the films of a folder, and the file of subtitles beside each.

    Args:
      language: of the subtitles, see `SubtitleChoice`.
      report: counts the files that are not read.

    Returns:
      The folder without symbolic links, and its films.

    Raises:
      InputError: there is no such folder, or no film in it.
    """
    path = user_path(folder)
    if not path.is_dir():
        problem = "is no folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {problem}: name a folder of films")
    path = path.resolve()
    films = [
        # What looks like a window of another film keeps its extension.
        one
        if one.video_id == clip_of_window(one.video_id)
        else dataclasses.replace(one, video_id=one.video_id + one.path.suffix)
        for one in films_in(path, report)
    ]
    return path, with_subtitles(films, language, report)


def add_films(
    model: Model,
    folder: str | os.PathLike,
    index: str | os.PathLike,
    reading: Reading,
    *,
    drop_removed: bool = False,
    only: Path | None = None,
    watch: Callable[[float, str], None] | None = None,
) -> Added:
    """Brings an index up to date with the films of a folder.

    A film whose file and subtitles have not changed is skipped, by size and time or else by
    content. A film that has a new name has its clips renamed. Films are committed a few at a time:
    a run that is interrupted has to do only the rest when it is repeated.

    Args:
      drop_removed: whether films that are no longer in the folder are removed, or reported.
      only: the film of the folder, or folder in it, that alone is added.
      watch: see `FilmProgress`.

    Raises:
      InputError: there are no films, or the index is another model's, is being written to, or
        cannot be. A film that cannot be used is only reported.
    """
    path, done = user_path(index), Added()
    root, films = find(folder, reading.subtitles.language, done.report)
    if only:
        films = [one for one in films if one.path.is_relative_to(only)]
    check_model(model, open_index(path))
    with open_writer(path) as writer, Book(path, to_change=True) as book:
        thumbnails.remove_strays(path, book)
        run = _Run(model, root, reading, writer, book, done)
        with FilmProgress(films, watch) as shown:
            for film in films:
                seconds = run.add(film, functools.partial(shown.within, film))
                shown.after(film, seconds)
        run.finish(drop_removed)
        thumbnails.remove_strays(path, book)
    return done


class _Unusable(Exception):
    """A film cannot be used, for the reason in a sentence."""


@contextlib.contextmanager
def _judged(found: FoundFilm) -> Iterator[None]:
    """Turns errors of reading a film into `_Unusable`: others end the run."""
    try:
        yield
    except InputError as error:
        raise _Unusable(str(error)) from error
    except OSError as error:
        # Errors of reading an open file do not name it.
        path = error.filename or found.path
        raise _Unusable(f"{path} cannot be read ({error.strerror or error})") from error


@dataclasses.dataclass(frozen=True)
class _Waiting:
    """A film that is not in the index yet; the film has no fingerprint."""

    film: KnownFilm
    decoded: Decoded
    is_new: bool


class _Run:
    """One call of `add_films`."""

    def __init__(
        self,
        model: Model,
        folder: Path,
        reading: Reading,
        writer: StoreWriter,
        book: Book,
        done: Added,
    ):
        self.done = done
        self._model, self._folder, self._reading = model, folder, reading
        self._writer, self._book = writer, book
        self._indexed = Indexed(writer.path)
        self._settings = reading.settings()
        # Films that wait, the number of their windows, and when the first of them came.
        self._waiting: list[_Waiting] = []
        self._windows, self._since = 0, 0.0

    def add(self, found: FoundFilm, on_progress: Callable[[float, float], None]) -> float:
        """Brings the index up to date with one film, or reports why that cannot be.

        Args:
          on_progress: see `read_film`.

        Returns:
          The seconds of the film if it was decoded, and otherwise 0.
        """
        known = self._book.get(found.video_id)
        if known and not self._holds(known):
            known = None
        try:
            with _judged(found):
                if known and self._is_quickly(known, found):
                    self.done.unchanged += 1
                    return 0.0
                film = self._film(found)
            is_other = known is not None and _is_there_beside(known.file, film.file)
            if known and known.content == film.content:
                self.done.unchanged += 1
                if not is_other:
                    self._book.put([_as_known(film, known, known.fingerprint)])
            elif known and is_other:
                self.done.report.add(TAKEN, f"{film.file}, and {known.file}", is_listed=True)
            elif twin := self._twin(film):
                self._rename(twin, film)
            else:
                waiting = self._decode(film, found, known is None, on_progress)
                self._wait(waiting)
                return waiting.decoded.duration
        except _Unusable as error:
            self.done.report.add(AS_BEFORE if known else LEFT_OUT, str(error), is_listed=True)
        return 0.0

    def finish(self, drop_removed: bool) -> None:
        """Commits what waits, and removes films that are no longer there, or reports them."""
        self._commit()
        gone = [
            film
            for film in self._book
            if film.file.is_relative_to(self._folder) and not os.path.lexists(film.file)
        ]
        # What was deleted, or replaced by a clip of a dataset, is no film's any more.
        held = [film.video_id for film in gone if self._holds(film)]
        if drop_removed:
            self._writer.delete(one for name in held for one in self._indexed.clip_ids(name))
            self._book.remove(film.video_id for film in gone)
            self.done.dropped = len(held)
        else:
            for name in held:
                self.done.report.add(GONE, name, is_listed=True)

    def _holds(self, film: KnownFilm) -> bool:
        """Checks that the index has the clips that the book says it has."""
        return self._indexed.fingerprint(film.video_id) == film.fingerprint

    def _is_quickly(self, known: KnownFilm, found: FoundFilm) -> bool:
        """Checks by size and time that nothing changed."""
        if known.file != self._folder / self._path(found) or known.settings != self._settings:
            return False
        if known.subtitles is None or found.beside.file is None:
            is_beside = known.subtitles is found.beside.file
        else:
            name, state = known.subtitles
            is_beside = name == found.beside.file.name and state.is_quickly(found.beside.file)
        return is_beside and known.state.is_quickly(found.path)

    def _path(self, found: FoundFilm) -> str:
        """Returns the path of a film in the folder."""
        return found.path.relative_to(self._folder).as_posix()

    def _film(self, found: FoundFilm) -> KnownFilm:
        """Reads the content of a film's files."""
        path, beside = text(self._path(found), "the name of a film"), found.beside.file
        return KnownFilm(
            found.video_id,
            self._folder,
            path,
            duration=0.0,
            state=read_state(found.path),
            subtitles=(beside.name, read_state(beside)) if beside else None,
            settings=self._settings,
        )

    def _twin(self, film: KnownFilm) -> KnownFilm | None:
        """Returns a film of the index with the same content under another name."""
        for one in self._book.of_content(film.state.sha256):
            is_twin = one.content == film.content and one.video_id != film.video_id
            if is_twin and self._holds(one):
                return one
        return None

    def _rename(self, twin: KnownFilm, film: KnownFilm) -> None:
        """Gives a film the clips of another one, which keeps them only if its file is there."""
        gone = [] if _is_there_beside(twin.file, film.file) else [twin.video_id]
        entries = self._indexed.entries(twin.video_id, film.video_id)
        add_encoded(self._writer, entries, renamed=gone)
        self._indexed = Indexed(self._writer.path)
        self._book.put([_as_known(film, twin, self._indexed.fingerprint(film.video_id))])
        self._book.remove(gone)
        self.done.renamed += 1

    def _decode(
        self,
        film: KnownFilm,
        found: FoundFilm,
        is_new: bool,
        on_progress: Callable[[float, float], None],
    ) -> _Waiting:
        """Decodes a film, and checks that its files have not changed since they were looked at."""
        beside = found.beside.file
        with _judged(found):
            decoded = decode(self._model, found, self._reading, self.done.report, on_progress)
            states = {found.path: film.state}
            if beside and film.subtitles:
                states[beside] = film.subtitles[1]
            for path, state in states.items():
                if not state.is_quickly(path):
                    raise InputError(f"{path} was changed while it was read: add it again")
        film = dataclasses.replace(film, duration=decoded.duration)
        return _Waiting(film, decoded, is_new)

    def _wait(self, waiting: _Waiting) -> None:
        """Takes a film for the index, and commits if there are enough for the model's batch."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(waiting)
        max_frames = self._model.exported.batch()["max_frames"]
        self._windows += len(windows(waiting.decoded.clip, max_frames, 0))
        if self._windows >= CLIPS_AT_ONCE or time.monotonic() - self._since > LONGEST_WAIT:
            self._commit()

    def _commit(self) -> None:
        """Puts the films that wait into the index, and then into the book."""
        if not self._waiting:
            return
        waiting, self._waiting, self._windows = self._waiting, [], 0
        films = self._with_pictures(waiting)
        add_encoded(self._writer, self._model.encode_clips(one.decoded.clip for one in waiting))
        self._indexed = Indexed(self._writer.path)
        self._book.put(
            dataclasses.replace(film, fingerprint=self._indexed.fingerprint(film.video_id))
            for film in films
        )
        self.done.added += sum(one.is_new for one in waiting)
        self.done.replaced += sum(not one.is_new for one in waiting)

    def _with_pictures(self, waiting: Sequence[_Waiting]) -> list[KnownFilm]:
        """Writes pictures of films while there is room; returns the films with their sizes."""
        room = self._reading.thumbnail_bytes - self._book.thumbnail_bytes()
        films = []
        for one in waiting:
            size = len(one.decoded.pictures)
            if size > room:
                self.done.report.add(NO_ROOM, one.film.video_id)
                size = 0
            elif size:
                thumbnails.write(self._writer.path, one.film.state.sha256, one.decoded.pictures)
                room -= size
            films.append(dataclasses.replace(one.film, thumbnails=size))
        return films


def _as_known(film: KnownFilm, known: KnownFilm, fingerprint: str) -> KnownFilm:
    """Returns a film with what is known of one of the same content."""
    return dataclasses.replace(
        film, duration=known.duration, thumbnails=known.thumbnails, fingerprint=fingerprint
    )


def _is_there_beside(known: Path, path: Path) -> bool:
    """Checks whether a known film's file still is there, and is not the one at `path`."""
    try:
        return not os.path.samefile(known, path)
    except OSError:
        return False
