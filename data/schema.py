"""What clips and queries are: as an importer hands them over, and as records hold them.

`data/records/codec.py` turns the second into bytes. Nothing here needs TensorFlow.
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from data.errors import InputError

# Of the records' layout: a dataset of another version has to be built again.
SCHEMA_VERSION = "2.0.0"
SPLITS = ("train", "validation", "test")
# What splits are called elsewhere.
SPLIT_NAMES = {"val": "validation", "dev": "validation", "validate": "validation"} | {
    split: split for split in SPLITS
}
# What queries can be: a sentence to be found, a question with answers, a statement that is true or
# not, a caption of a moment.
QUERY_TYPES = ("query", "question", "statement", "caption")


@dataclasses.dataclass(frozen=True)
class RawSubtitle:
    """A sentence and when it is said, in seconds from the start of the clip.

    token_ids: as the source stores them, None to have them made.
    """

    text: str
    start: float
    end: float
    token_ids: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class RawClip:
    """A clip as an importer found it.

    features: the parts that stand side by side in a frame's feature vector (2D, 3D), each
      `[frames, width]`.
    duration: seconds, None if the source does not say.
    story: JSON of whatever the source knows beyond frames and subtitles, or ''.
    frame_images: one PNG per frame, or empty.
    video_id, video_start: the video that it is cut from, and where in it it begins (seconds);
      '' and 0 for a clip that is a whole video.
    """

    clip_id: str
    features: tuple[np.ndarray, ...]
    subtitles: tuple[RawSubtitle, ...]
    duration: float | None = None
    story: str = ""
    frame_images: tuple[bytes, ...] = ()
    video_id: str = ""
    video_start: float = 0.0


@dataclasses.dataclass(frozen=True)
class RawQuery:
    """A query, question, statement or caption as an importer found it.

    clip_id: the clip that it is about, '' if the source does not tell.
    text: the query, question, statement or caption; '' for a moment whose caption is kept back.
    moments: first and last second of what it is about, one for each annotator; empty if the source
      does not tell.
    kind: what the query needs, in TVR 'v' (video), 't' (text) or 'vt'; '' if not known.
    answers: to choose from, of a question.
    label: which answer is right, from 0; of a statement whether it is true, 1 or 0; -1 if the
      source does not tell.
    group: the same for queries that belong together: the true and the false statement of a pair,
      the captions of one moment; '' for none.
    token_ids, answer_token_ids: as the source stores them, None to have them made.
    """

    query_id: str
    clip_id: str
    text: str
    moments: tuple[tuple[float, float], ...] = ()
    kind: str = ""
    answers: tuple[str, ...] = ()
    label: int = -1
    group: str = ""
    token_ids: tuple[int, ...] | None = None
    answer_token_ids: tuple[tuple[int, ...], ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """A clip as a record holds it. `F` frames, `D` features, `S` subtitles, `T` tokens in all.

    Arrays are views of the record's bytes and cannot be written to.

    frame_features: `[F, D]` float16, all parts side by side.
    duration: seconds; number of frames times seconds per feature if the source does not say.
    subtitle_texts: the `S` sentences as the source has them, in order of their starts.
    subtitle_starts, subtitle_ends: `[S]` float32, seconds.
    token_ids: `[T]` int32, the subtitles' tokens one after the other, no special tokens.
    token_counts: `[S]` int32, how many of them each subtitle has; may be 0.
    frame_subtitle: `[F]` int32, index of the subtitle each frame belongs to, -1 for none.
    story, frame_images, video_id, video_start: see `RawClip`.
    """

    clip_id: str
    frame_features: np.ndarray
    duration: float
    subtitle_texts: tuple[str, ...]
    subtitle_starts: np.ndarray
    subtitle_ends: np.ndarray
    token_ids: np.ndarray
    token_counts: np.ndarray
    frame_subtitle: np.ndarray
    story: str
    frame_images: tuple[bytes, ...]
    video_id: str
    video_start: float


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """A query as a record holds it: see `RawQuery`. `M` moments, `A` answers.

    token_ids: `[T]` int32, no special tokens.
    moments: `[M, 2]` float64, seconds.
    answer_token_ids: int32, the answers' tokens one after the other; answer_token_counts: `[A]`
      int32, how many each has.
    """

    query_id: str
    clip_id: str
    text: str
    token_ids: np.ndarray
    moments: np.ndarray
    kind: str
    answers: tuple[str, ...]
    answer_token_ids: np.ndarray
    answer_token_counts: np.ndarray
    label: int
    group: str

    @property
    def moment(self) -> tuple[float, float] | None:
        """The moment that overlaps all annotators' moments most, the first of such; None if none.

        Overlap is intersection over union, summed.
        """
        if not len(self.moments):
            return None
        starts, ends = self.moments.T
        overlap = np.minimum.outer(ends, ends) - np.maximum.outer(starts, starts)
        union = np.maximum.outer(ends, ends) - np.minimum.outer(starts, starts)
        shared = np.maximum(overlap, 0) / np.where(union > 0, union, 1)
        first, last = self.moments[shared.sum(1).argmax()].tolist()
        return first, last


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens `<s>`, `<pad>`, `</s>`, `<mask>`."""

    cls: int
    pad: int
    sep: int
    mask: int


@dataclasses.dataclass(frozen=True)
class DatasetMetadata:
    """What has to be known about a dataset before its records are read.

    name: of the dataset, its folder's last component.
    schema_version: of the records' layout.
    feature_widths: widths of the parts of a frame's feature vector, in order.
    seconds_per_feature: seconds between two frames.
    tokenizer: identity of the tokenizer (`data.tokenizer.Tokenizer.identity`).
    tokenizer_name: what its source calls it.
    vocab_size, special_ids, word_ids: of that tokenizer.
    query_type: one of QUERY_TYPES, '' without queries.
    clips, queries: how many there are, by split.
    totals: frames, subtitles and the like in all clips.
    left_out: how much of the source was skipped or cut, by what and why.
    """

    name: str
    schema_version: str
    feature_widths: tuple[int, ...]
    seconds_per_feature: float
    tokenizer: str
    tokenizer_name: str
    vocab_size: int
    special_ids: SpecialIds
    word_ids: tuple[int, int]
    query_type: str
    clips: dict[str, int]
    queries: dict[str, int]
    totals: dict[str, int]
    left_out: dict[str, int]

    @property
    def feature_width(self) -> int:
        """Width of a frame's whole feature vector."""
        return sum(self.feature_widths)

    def to_json(self) -> dict:
        """As plain JSON values, the inverse of `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict) -> "DatasetMetadata":
        return cls(
            **content
            | {
                "feature_widths": tuple(content["feature_widths"]),
                "special_ids": SpecialIds(**content["special_ids"]),
                "word_ids": tuple(content["word_ids"]),
            }
        )

    @classmethod
    def load(cls, dataset_dir: str | os.PathLike) -> "DatasetMetadata":
        """Of the finished dataset in `dataset_dir`; InputError if there is none."""
        path = records_dir(dataset_dir, "clips") / "metadata.json"
        if not path.is_file():
            raise InputError(_why_no_dataset(Path(dataset_dir)))
        try:
            return cls.from_json(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} does not describe a dataset ({error}): build the dataset again with "
                "`--overwrite`"
            ) from error


def records_dir(dataset_dir: str | os.PathLike, kind: str) -> Path:
    """Where a dataset has its shards of one `kind` of records, 'clips' or 'queries'.

    A builder fills clips last and moves them here when they are complete: if they are here, the
    dataset is whole.
    """
    return Path(dataset_dir) / kind / SCHEMA_VERSION


def building_dir(dataset_dir: str | os.PathLike) -> Path:
    """Where the shards of an unfinished dataset are."""
    return Path(dataset_dir) / "building"


def tokenizer_path(dataset_dir: str | os.PathLike) -> Path:
    """The tokenizer that made the token ids of a dataset."""
    return Path(dataset_dir) / "tokenizer.json"


def _why_no_dataset(folder: Path) -> str:
    how = f"`python -m data.build shapes --out={folder}` (or `raw`, `original`; see its --help)"
    if not folder.is_dir():
        return f"dataset {folder} does not exist: build it with {how}"
    versions = sorted(path.name for path in (folder / "clips").glob("[0-9]*.[0-9]*.[0-9]*"))
    if set(versions) - {SCHEMA_VERSION}:
        return (
            f"dataset {folder} has records of version {', '.join(versions)} where {SCHEMA_VERSION} "
            f"is needed: build it again with {how}"
        )
    if building_dir(folder).exists() or (folder / "clips").exists():
        return (
            f"dataset {folder} is half-built, its building was broken off: run the command that "
            "began it again, it goes on where it was"
        )
    return f"{folder} holds no dataset: name another folder, or build one there with {how}"
