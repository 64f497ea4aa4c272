"""The sample corpus: short films of coloured shapes, generated from a seed.

`python -m data.shapes --clip=3 --out=film.png` shows one of them.
"""

import dataclasses
import functools
import math
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.errors import InputError
from data.report import Report
from data.schema import FeatureIdentity, RawClip, RawQuery, RawSubtitle
from data.shapes.captions import captions
from data.shapes.events import events
from data.shapes.features import appearance, motion
from data.shapes.film import Film
from data.shapes.film_captions import film_captions
from data.shapes.narration import narrate
from data.shapes.plot import tell
from data.shapes.queries import queries
from data.shapes.questions import questions
from data.shapes.render import render
from data.shapes.statements import statements
from data.shapes.story import Story, to_json
from data.tokenizer import Tokenizer, normalise_subtitle

SECONDS_PER_FEATURE = 1.5
VOCABULARY_SIZE = 600
# What makes the features: there are no weights, so the version of their definition stands for them.
FEATURES = (FeatureIdentity("shapes-appearance", "1"), FeatureIdentity("shapes-motion", "1"))

# Type of each set of annotations, and what makes it.
ANNOTATORS = {
    "query": ("query", queries),
    "question": ("question", questions),
    "statement": ("statement", statements),
    "caption": ("caption", captions),
    "event": ("question", events),
    "film": ("caption", film_captions),
}
STEPS = 4  # images per feature on which its motion is measured
_SATURATION = 6.0  # standard deviations; otherwise rare movements would dominate


@dataclasses.dataclass
class ShapesSource:
    """A `data.sources.base.Source` of films 0 to num_clips - 1 of a seed.

    seed: seed of the films.
    num_clips: number of films.
    annotations: the annotations of every film, one of ANNOTATORS, '' for none.
    query_type: their type.

    Raises:
      InputError: there are no films.
    """

    seed: int
    num_clips: int
    annotations: str = ""

    def __post_init__(self) -> None:
        if self.num_clips < 1:
            raise InputError(f"num_clips is {self.num_clips}: it must be at least 1")
        self.seconds_per_feature = SECONDS_PER_FEATURE
        self.networks = FEATURES
        self.query_type = ANNOTATORS[self.annotations][0] if self.annotations else ""
        self.report = Report()
        videos: dict[str, list[str]] = {}
        queries: dict[str, list[RawQuery]] = {}
        for index in range(self.num_clips):
            split = split_of(index, self.num_clips)
            videos.setdefault(split, []).append(film_id(self.seed, index))
            if self.annotations:
                queries.setdefault(split, []).extend(annotate(self.seed, index, self.annotations))
        self.videos: Mapping[str, Sequence[str]] = videos
        self.queries: Mapping[str, Sequence[RawQuery]] = queries

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """Returns the film of that id."""
        del report
        return [film(self.seed, int(video_id.rpartition("_")[2]))]

    def video_of(self, clip_id: str) -> str:
        """Returns the id of the film, which is a clip and its own video."""
        return clip_id

    def narrowed(self, videos: Sequence[str]) -> "ShapesSource":
        """Returns the source without annotations; films are made from their ids."""
        del videos
        return dataclasses.replace(self, annotations="")

    def identity(self, videos: Sequence[str]) -> list:
        """Returns an empty list: a film depends on its id alone."""
        del videos
        return []

    def tokenizer(self) -> Tokenizer:
        """Trains a tokenizer on the subtitles of the films of split train."""
        indices = range(self.num_clips)
        train = (i for i in indices if split_of(i, self.num_clips) == "train")
        said = (subtitle.text for i in train for subtitle in tell_film(self.seed, i)[1])
        return Tokenizer.train(map(normalise_subtitle, said), VOCABULARY_SIZE)


def film_id(seed: int, index: int) -> str:
    """Returns the id of a film."""
    return f"shapes{seed}_{index:05d}"


def tell_film(seed: int, index: int) -> tuple[Story, list[RawSubtitle], list[dict[str, Any]]]:
    """Returns the story, the subtitles and the narration of a film."""
    rng = random.Random(f"shapes {seed} {index}")
    story = tell(rng)
    return story, *narrate(story, rng)


def annotate(seed: int, index: int, annotations: str) -> list[RawQuery]:
    """Returns a film's annotations of a set; they depend on the arguments alone."""
    rng = random.Random(f"shapes {seed} {index} {annotations}")
    return ANNOTATORS[annotations][1](Film(film_id(seed, index), *tell_film(seed, index)), rng)


def film(seed: int, index: int) -> RawClip:
    """Makes a film of a seed.

    Its features are appearance `[frames, 128]` and motion `[frames, 80]`, float16, scaled to about
    unit variance. Frame i covers the 1.5 seconds from 1.5 i on; its image is taken in their middle.
    For its story see `data.shapes.story.from_json`.
    """
    story, subtitles, narration = tell_film(seed, index)
    middles, features = look(story)
    return RawClip(
        clip_id=film_id(seed, index),
        features=tuple(
            scaled(part, scale).astype(np.float16)
            for part, scale in zip(features, scales(), strict=True)
        ),
        subtitles=tuple(subtitles),
        duration=story.duration,
        story=to_json(story, narration),
        frame_images=tuple(_png(frame) for frame in middles),
    )


def split_of(index: int, num_clips: int) -> str:
    """Returns the split of film `index`, whatever num_clips; about 80% are in train.

    Raises:
      InputError: there is no such film.
    """
    if not 0 <= index < num_clips:
        last = num_clips - 1
        raise InputError(f"film {index} is not one of {num_clips} films: choose 0 to {last}")
    return {8: "validation", 9: "test"}.get(index % 10, "train")


def look(story: Story) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Returns the middle image of each feature `[frames, 48, 48, 3]`, and unscaled features."""
    num_frames = math.ceil(story.duration / SECONDS_PER_FEATURE)
    moments = np.arange(num_frames * STEPS + 1) * (SECONDS_PER_FEATURE / STEPS)
    frames = render(story, moments)
    middles = frames[STEPS // 2 :: STEPS]
    return middles, (appearance(middles), motion(frames, STEPS))


def scaled(features: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns features with about unit variance; `scale` is their mean and standard deviation."""
    mean, deviation = scale
    return np.clip((features - mean) / deviation, -_SATURATION, _SATURATION)


@functools.cache
def scales() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns mean and standard deviation of both features, of films that are in no corpus."""
    looks = [look(tell(random.Random(f"scales {index}")))[1] for index in range(64)]
    parts = (np.concatenate(part) for part in zip(*looks, strict=True))
    return tuple((part.mean(0), part.std(0) + 1e-6) for part in parts)


def _png(frame: np.ndarray) -> bytes:
    """Returns an 8-bit RGB PNG of a frame `[y, x, 3]`; Pillow would take three times as long."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, _ = frame.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = frame.reshape(height, -1)
    pixels = zlib.compress(rows.tobytes(), 1)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
