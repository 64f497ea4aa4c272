"""Progress of work on many films."""

from collections.abc import Callable, Sequence
from pathlib import Path

from data.progress import ProgressMeter
from hero_jax.extract.films import FoundFilm


class FilmProgress:
    """Progress in films and their seconds; the sizes of their files say how much is left."""

    def __init__(
        self,
        films: Sequence[FoundFilm],
        watch: Callable[[float, str], None] | None = None,
    ):
        """Begins with nothing done.

        Args:
          watch: is told of all progress: the share of all films, and a few words.
        """
        self._sizes = {film.video_id: _size(film.path) for film in films}
        self._meter = ProgressMeter("films", sum(self._sizes.values()))
        self._done, self._size, self._seconds = 0, 0.0, 0.0
        self._watch = watch

    def __enter__(self) -> "FilmProgress":
        """Returns the progress."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends with the last state."""
        self._meter.close()

    def within(self, film: FoundFilm, seconds: float, length: float) -> None:
        """Reports the seconds of a film that are done, of all of its seconds, 0 if unknown."""
        share = min(seconds / length, 1) if length else 0
        self._report(share * self._sizes[film.video_id], seconds)

    def after(self, film: FoundFilm, seconds: float) -> None:
        """Reports that a film is done, of which so many seconds were read now."""
        self._done += 1
        self._size += self._sizes[film.video_id]
        self._seconds += seconds
        self._report(0, 0)

    def _report(self, size: float, seconds: float) -> None:
        state = f"{self._done} of {len(self._sizes)} done"
        if read := self._seconds + seconds:
            state += f", {read / max(self._meter.seconds, 1e-9):,.1f} s of film a second"
        self._meter.update(self._size + size, state)
        if self._watch:
            self._watch((self._size + size) / max(sum(self._sizes.values()), 1), state)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # Extracting from it will report it.
        return 0
