"""Small pictures of a film, made while it is decoded; it needs Pillow."""

import dataclasses
import io
import zipfile
from fractions import Fraction

import numpy as np
from PIL import Image

from data.video.sampling import FilmFacts, FrameRows, Framing

# Pixels of the longer side, and JPEG's quality: about 4 kB a picture.
SIDE, QUALITY = 160, 75
# Pictures of a film. Of a longer one every second is left out, again and again.
MOST = 1000
# Seconds of a film that has a picture all the same.
_SHORTEST = Fraction(1, 10)


@dataclasses.dataclass(frozen=True)
class SmallFrames:
    """A sampling (see `data.video.sampling`) of small frames, one every `seconds`."""

    seconds: Fraction

    def rate(self, film: FilmFacts) -> Fraction:
        """Returns a frame for every `seconds`, and one of a shorter film."""
        if not 0 < film.duration < self.seconds:
            return 1 / self.seconds
        return 1 / max(Fraction(film.duration).limit_denominator(1000), _SHORTEST)

    def picture(self, film: FilmFacts) -> Framing:
        """Returns the whole frame, with a longer side of `SIDE`."""
        longer = max(film.width, film.height)
        width, height = (max(side * SIDE // longer, 1) for side in (film.width, film.height))
        return Framing(width, height, None)

    def rows(self, film: FilmFacts) -> FrameRows:
        """Returns what makes rows `[h, w, 3]`."""
        return FrameRows()

    def warnings(self, film: FilmFacts) -> list[str]:
        """Returns nothing."""
        return []


class Thumbnails:
    """The pictures of one film: at most `MOST`, evenly spread over what was added."""

    def __init__(self, seconds: Fraction):
        """Takes the seconds from one frame to the next."""
        self._seconds = seconds
        self._frames, self._step = 0, 1
        self._pictures: list[bytes] = []

    def add(self, frame: np.ndarray) -> None:
        """Takes the next frame, `[height, width, 3]` uint8."""
        if self._frames % self._step == 0 and len(self._pictures) == MOST:
            self._pictures = self._pictures[::2]
            self._step *= 2
        if self._frames % self._step == 0:
            content = io.BytesIO()
            Image.fromarray(frame).save(content, "JPEG", quality=QUALITY, optimize=True)
            self._pictures.append(content.getvalue())
        self._frames += 1

    def archive(self, duration: float) -> bytes:
        """Returns the archive of `hero_jax.search.thumbnails`, b'' without a picture.

        Args:
          duration: of the film, in seconds.
        """
        # A frame is the one in the middle of its seconds.
        middles = (
            (n * self._step + Fraction(1, 2)) * self._seconds for n in range(len(self._pictures))
        )
        times = (round(1000 * min(float(middle), duration)) for middle in middles)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for time, picture in dict(zip(times, self._pictures, strict=True)).items():
                # Without the time of writing: equal films have equal files.
                archive.writestr(zipfile.ZipInfo(f"{time}.jpg"), picture)
        return content.getvalue() if self._pictures else b""
