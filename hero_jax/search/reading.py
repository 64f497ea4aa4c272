"""Reading a film for a model: its features, its subtitles, and pictures for the page."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from fractions import Fraction

from data.errors import InputError
from data.report import Report
from data.schema import Clip, RawSubtitle
from data.sources.subtitles import read_subtitle_file
from hero_jax.extract import subtitles
from hero_jax.extract.film import read_film
from hero_jax.extract.films import FoundFilm
from hero_jax.extract.subtitles import SubtitleChoice
from hero_jax.extractors.base import Extractor
from hero_jax.inference.model import Model
from hero_jax.search.shrinking import SmallFrames, Thumbnails

# Seconds between pictures of a film, in rows of its features.
ROWS_OF_A_PICTURE = 2
# Largest denominator of a model's seconds per feature, which it has as a decimal number.
LARGEST_DENOMINATOR = 1000

DOUBTFUL = "films that were not read as they should be"


@dataclasses.dataclass(frozen=True)
class Reading:
    """Settings with which films are read.

    extractors: the networks of the model's features, in order.
    even_sampling: whether the frames of a clip are evenly spaced, unlike the published ones.
    thumbnail_bytes: room for the pictures of all films; 0 for none.
    subtitles: which are wanted.
    encoding: of files of subtitles that are neither UTF-8 nor have a byte order mark, None to
      detect it.
    """

    extractors: Sequence[Extractor]
    even_sampling: bool
    thumbnail_bytes: int
    subtitles: SubtitleChoice = dataclasses.field(default_factory=SubtitleChoice)
    encoding: str | None = None

    def settings(self) -> str:
        """Returns text that is equal for films that are read alike."""
        networks = [(one.name, one.weights) for one in self.extractors]
        choice = dataclasses.astuple(self.subtitles)
        return json.dumps([networks, self.even_sampling, choice, self.encoding])


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Content of a film.

    clip: the whole film; its name is the film's id.
    pictures: an archive of `hero_jax.search.thumbnails`, b'' if there are none.
    duration: in seconds.
    """

    clip: Clip
    pictures: bytes
    duration: float


def decode(
    model: Model,
    film: FoundFilm,
    reading: Reading,
    report: Report,
    on_progress: Callable[[float, float], None],
) -> Decoded:
    """Computes the features of a film, reads its subtitles and makes its pictures.

    Args:
      report: counts what is wrong with films and subtitles that are used all the same.
      on_progress: see `read_film`.

    Raises:
      InputError: the film cannot be used.
    """
    step = Fraction(model.features.seconds_per_feature).limit_denominator(LARGEST_DENOMINATOR)
    pictures = Thumbnails(ROWS_OF_A_PICTURE * step)
    small = SmallFrames(ROWS_OF_A_PICTURE * step), pictures.add
    features = read_film(
        film.path,
        reading.extractors,
        step,
        reading.even_sampling,
        watched=[small] if reading.thumbnail_bytes else [],
        on_progress=on_progress,
    )
    lines = [(one.start, one.end, one.text) for one in _subtitles(film, reading, report)]
    clip = model.clip(film.video_id, features.parts, lines)
    for warning in features.warnings:
        report.add(DOUBTFUL, f"{film.path} {warning}", is_listed=True)
    seconds = float(len(clip.frame_features) * step)
    duration = features.duration if features.duration > 0 else seconds
    return Decoded(clip, pictures.archive(duration), duration)


def _subtitles(film: FoundFilm, reading: Reading, report: Report) -> Sequence[RawSubtitle]:
    """Returns the subtitles of a film, none if they cannot be read, which is reported."""
    if film.beside.problem:
        report.add(DOUBTFUL, film.beside.problem, is_listed=True)
    if film.beside.file:
        return read_subtitle_file(film.beside.file, report, reading.encoding)
    try:
        return subtitles.read(film.path, reading.subtitles, report)[1]
    except InputError as error:
        report.add(DOUBTFUL, f"{film.path} has no subtitles: {error}", is_listed=True)
        return ()
