"""Extraction from one film into the folder of all: what is missing of it, under a lock."""

import contextlib
import dataclasses
import functools
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import NO_LOCKS, locked, writing_to
from hero_jax.extract import output, subtitles
from hero_jax.extract.film import FilmFeatures, read_film
from hero_jax.extract.films import FoundFilm
from hero_jax.extract.output import FeatureFile, Making, VideoFile
from hero_jax.extractors.base import Extractor
from hero_jax.extractors.registry import load

MADE, KEPT, FAILED, BUSY = "made", "kept", "failed", "busy"
NO_ROOM_ADVICE = "make room and run the command again, finished films are kept"
LOCKS = ".locks"
# Bytes of the longest id: file systems take names of 255 bytes.
_LONGEST_ID = 240
OnProgress = Callable[[float, float], None]


@dataclasses.dataclass(frozen=True)
class Setup:
    """Settings of an extraction.

    Attributes:
      out: the folder that gets a folder for each network, and one for subtitles.
      networks: names, and files of their weights, None for those that come with a package.
      seconds_per_feature: seconds between two rows.
      even: whether the frames of clips are evenly spaced, unlike the published ones.
      dtype: what the networks compute in.
      max_pixels: pixels of a frame beyond which a film is refused.
      subtitles: which subtitles are wanted.
    """

    out: Path
    networks: tuple[tuple[str, Path | None], ...]
    seconds_per_feature: Fraction
    even: bool
    dtype: str
    max_pixels: int
    subtitles: subtitles.SubtitleChoice

    def extractors(self) -> tuple[Extractor, ...]:
        """Returns the networks, which are loaded once."""
        return _load(self.networks, self.dtype)

    def makings(self) -> list[Making]:
        """Returns how the features of each network are made.

        Raises:
          InputError: a network cannot be loaded, or has no rows of so many seconds.
        """
        return [self._making(extractor) for extractor in self.extractors()]

    def _making(self, extractor: Extractor) -> Making:
        step = self.seconds_per_feature
        published = extractor.sampling(step, False)
        # Networks of single frames have no even sampling.
        is_even = self.even and extractor.sampling(step, True) != published
        return Making(extractor.name, extractor.weights, str(step), is_even, self.dtype)

    def folder(self, network: str) -> Path:
        """Returns the folder of a network's features."""
        return self.out / network


@functools.lru_cache(1)
def _load(networks: tuple[tuple[str, Path | None], ...], dtype: str) -> tuple[Extractor, ...]:
    return tuple(load(name, path, dtype) for name, path in networks)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of the work on a film.

    Attributes:
      state: MADE, KEPT (all of it was finished before), FAILED, or BUSY in another process.
      reason: why it failed, or who is at work on it.
      warnings: sentences about the film.
      seconds: seconds of film that were read.
      rows: number of rows of each network.
      cut: number of rows that each network gave beyond these.
      subtitles: where its subtitles are from.
    """

    film: FoundFilm
    state: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    rows: int = 0
    cut: tuple[int, ...] = ()
    subtitles: str = subtitles.NONE


@dataclasses.dataclass
class _State:
    """Parts of a film that are finished."""

    file: VideoFile
    descriptions: list[FeatureFile | None]
    subtitles: subtitles.Made | None

    def kept(self, film: FoundFilm) -> Outcome | None:
        """Returns the outcome of a film of which all is finished, None for another."""
        done = [description for description in self.descriptions if description]
        same_rows = len({description.rows for description in done}) == 1
        if len(done) < len(self.descriptions) or not same_rows or self.subtitles is None:
            return None
        return Outcome(
            film,
            KEPT,
            warnings=_warnings(film, done, self.subtitles),
            rows=done[0].rows,
            cut=tuple(description.cut for description in done),
            subtitles=self.subtitles.source,
        )


def prepare(setup: Setup) -> str:
    """Makes the folders.

    Returns:
      A warning if other processes could not share the work, '' otherwise.

    Raises:
      InputError: the folders cannot be written to.
    """
    with writing_to(setup.out, "name another folder"):
        for name in (LOCKS, subtitles.FOLDER, *(name for name, _ in setup.networks)):
            folder = setup.out / name
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise InputError(f"{folder} may not be written to: name another folder")
        probe = setup.out / LOCKS / f".{uuid.uuid4().hex}"
        try:
            with locked(probe, "", ""):
                return ""
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return (
                f"{setup.out} is on a file system without locks: make sure that no other process "
                "works on the same films"
            )
        finally:
            probe.unlink(missing_ok=True)


def look(setup: Setup, film: FoundFilm) -> Outcome | None:
    """Returns the outcome of a film of which nothing is left to do, None for another."""
    try:
        return _state(setup, film).kept(film)
    except InputError as error:
        return Outcome(film, FAILED, str(error))


def extract(setup: Setup, film: FoundFilm, on_progress: OnProgress = lambda *_: None) -> Outcome:
    """Does what is missing of a film, unless another process is at work on it.

    Raises:
      InputError: the results cannot be written.
    """
    if len(os.fsencode(film.video_id)) > _LONGEST_ID:
        return Outcome(film, FAILED, f"{film.path} has too long a name: rename it")
    lock = setup.out / LOCKS / film.video_id
    with contextlib.ExitStack() as stack, writing_to(setup.out, NO_ROOM_ADVICE):
        try:
            stack.enter_context(locked(lock, f"{film.path} is being read", "wait"))
        except InputError as busy:
            return Outcome(film, BUSY, str(busy))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        outcome = _extract(setup, film, on_progress)
        if outcome.state != FAILED:
            # Who gets hold of it meanwhile sees that there is nothing left to do.
            lock.unlink(missing_ok=True)
        return outcome


def _state(setup: Setup, film: FoundFilm) -> _State:
    file = VideoFile(film.path)
    descriptions = [
        output.finished(setup.folder(making.network), film.video_id, making, file)
        for making in setup.makings()
    ]
    folder = setup.out / subtitles.FOLDER
    made = subtitles.finished(folder, film, file, setup.subtitles)
    return _State(file, descriptions, made)


def _extract(setup: Setup, film: FoundFilm, on_progress: OnProgress) -> Outcome:
    """Does what is missing of a film; see `extract`."""
    try:
        state = _state(setup, film)
        if kept := state.kept(film):
            return kept
        features = _missing_features(setup, film, state, on_progress)
        video = state.file.describe()
    except InputError as error:
        return Outcome(film, FAILED, str(error))
    except OSError as error:
        # Errors of reading an open file do not name it.
        path = error.filename or film.path
        return Outcome(film, FAILED, f"{path} cannot be read ({error.strerror or error})")
    folder = setup.out / subtitles.FOLDER
    made = state.subtitles or subtitles.make(folder, film, setup.subtitles, video)
    descriptions = _write_features(setup, film, state, features, video)
    return Outcome(
        film,
        MADE,
        warnings=_warnings(film, descriptions, made),
        seconds=features.seconds if features else 0.0,
        rows=descriptions[0].rows,
        cut=tuple(description.cut for description in descriptions),
        subtitles=made.source,
    )


def _missing_features(
    setup: Setup, film: FoundFilm, state: _State, on_progress: OnProgress
) -> FilmFeatures | None:
    """Returns the features that no finished file has, in the order of the networks."""
    pairs = zip(setup.extractors(), state.descriptions, strict=True)
    missing = [extractor for extractor, description in pairs if description is None]
    if not missing:
        return None
    return read_film(
        film.path,
        missing,
        setup.seconds_per_feature,
        setup.even,
        max_pixels=setup.max_pixels,
        on_progress=on_progress,
    )


def _write_features(
    setup: Setup,
    film: FoundFilm,
    state: _State,
    features: FilmFeatures | None,
    video: Mapping[str, Any],
) -> list[FeatureFile]:
    """Writes what is missing, and cuts all files to the fewest rows of any."""
    parts = zip(features.parts, features.cut, strict=True) if features else iter(())
    rows = [description.rows for description in state.descriptions if description]
    fewest = min([*rows, *(len(part) for part in (features.parts if features else ()))])
    descriptions = []
    for making, description in zip(setup.makings(), state.descriptions, strict=True):
        folder = setup.folder(making.network)
        if description is None and features:
            part, cut = next(parts)
            description = FeatureFile(
                making=making,
                source_rate=features.source_rate,
                duration=features.duration,
                cut=cut + len(part) - fewest,
                warnings=features.warnings,
                video=video,
            )
            description = output.write(folder, film.video_id, part[:fewest], description)
        elif description and description.rows > fewest:
            description = output.cut(folder, film.video_id, description, fewest)
        descriptions += [description] if description else []
    return descriptions


def _warnings(
    film: FoundFilm, descriptions: Iterable[FeatureFile], made: subtitles.Made
) -> tuple[str, ...]:
    """Returns sentences about a film and its subtitles."""
    sentences = dict.fromkeys(w for description in descriptions for w in description.warnings)
    beside = [film.beside.problem] if film.beside.problem else []
    return (*beside, *(f"{film.path} {sentence}" for sentence in sentences), *made.warnings)
