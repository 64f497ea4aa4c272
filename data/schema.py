"""Types of clips and queries: raw ones, as importers return them, and those that records hold.

`data/records/codec.py` encodes and decodes the latter. Nothing here needs TensorFlow.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from data.arguments import user_path
from data.errors import InputError, reason
from data.text import parse_json

# Version of the records' layout. A dataset of another version has to be built again.
SCHEMA_VERSION = "2.0.0"
# The last two are those of benchmarks with two test splits, of which one has hidden labels.
SPLITS = ("train", "validation", "test", "test_public", "test_private")
# Our name of a split by the names that benchmarks use.
SPLIT_NAMES = {"val": "validation", "dev": "validation", "validate": "validation"} | {
    split: split for split in SPLITS
}
# Types of queries: a sentence to search with, a question with answers, a true or false statement, a
# caption of a moment.
QUERY_TYPES = ("query", "question", "statement", "caption")


@dataclasses.dataclass(frozen=True)
class RawSubtitle:
    """A sentence and the time in which it is said.

    start, end: seconds from the start of the clip.
    token_ids: as the source stores them, None to tokenize the text.
    """

    text: str
    start: float
    end: float
    token_ids: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class RawClip:
    """A clip as an importer returns it.

    features: the parts of the frames' feature vectors (2D, 3D), each `[frames, width]`.
    duration: seconds, None if unknown.
    story: JSON of what the source knows beyond frames and subtitles, or ''.
    frame_images: one PNG per frame, or empty.
    video_id, video_start: the video that the clip is cut from and the second at which the clip
      starts; '' and 0 for a clip that is a whole video.
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
    """A query, question, statement or caption as an importer returns it.

    clip_id: the clip that it is about, '' if unknown.
    text: the query, question, statement or caption; '' if the caption of a moment is hidden, or if
      nothing but the answers is asked (VLEP).
    moments: start and end in seconds, one moment for each annotator, or all windows that fit the
      query (QVHighlights); empty if unknown.
    kind: modalities that the query needs, in TVR 'v' (video), 't' (text) or 'vt'; '' if unknown.
    answers: choices of a question.
    label: index of a question's right answer; 1 for a true and 0 for a false statement; -1 if
      unknown.
    group: name shared by queries that belong together: the true and the false statement of a pair,
      or the captions of one moment; '' for none.
    token_ids, answer_token_ids: as the source stores them, None to tokenize the texts.
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
    """A clip as a record holds it: `F` frames, `D` features, `S` subtitles, `T` tokens in total.

    Arrays are read-only views of the record's bytes.

    frame_features: `[F, D]` float16, all parts concatenated.
    duration: seconds; number of frames times seconds per feature if the source has none.
    subtitle_texts: the `S` sentences as in the source, sorted by start.
    subtitle_starts, subtitle_ends: `[S]` float32, seconds.
    token_ids: `[T]` int32, tokens of all subtitles concatenated, without special tokens.
    token_counts: `[S]` int32, number of tokens of each subtitle; may be 0.
    frame_subtitle: `[F]` int32, index of the subtitle that each frame belongs to, -1 for none.
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
    """A query as a record holds it: `T` tokens, `M` moments, `A` answers; see `RawQuery`.

    token_ids: `[T]` int32, without special tokens.
    moments: `[M, 2]` float64, start and end in seconds.
    answer_token_ids: int32, tokens of all answers concatenated.
    answer_token_counts: `[A]` int32, number of tokens of each answer.
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
        """Start and end of the moment that agrees best with all annotators' moments, None if none.

        It has the largest sum of intersections over union with all moments, and is the first of
        those with the same sum.
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
class FeatureIdentity:
    """The network that made a part of the features: two of the same width are not alike.

    network: its name.
    weights: hash of its weights.
    even_sampling: whether the frames of a clip are evenly spaced, unlike in published features.
    """

    network: str
    weights: str
    even_sampling: bool = False

    @classmethod
    def from_json(cls, content: Any) -> "FeatureIdentity | None":
        """Returns the identity of JSON values, None for null.

        Raises:
          ValueError: they are of something else.
        """
        match content:
            case None:
                return None
            case {"network": str(network), "weights": str(weights), "even_sampling": bool(even)}:
                return cls(network, weights, even)
        raise ValueError("features are no list of networks with their weights")


@dataclasses.dataclass(frozen=True)
class DatasetMetadata:
    """Description of a dataset, which is read before its records.

    name: last component of the dataset's folder.
    schema_version: version of the records' layout.
    feature_widths: widths of the parts of a frame's feature vector, in order.
    features: the network that made each part, None if it is unknown.
    seconds_per_feature: seconds between two frames.
    tokenizer: identity of the tokenizer (`data.tokenizer.Tokenizer.identity`).
    tokenizer_name: name of the tokenizer in the source.
    vocab_size, special_ids, word_ids: see `data.tokenizer.Tokenizer`.
    query_type: one of QUERY_TYPES, '' without queries.
    clips, queries: numbers of records by split.
    totals: numbers of frames, subtitles and so on in all clips.
    left_out: numbers of things that were skipped, cut or changed, by reason.
    """

    name: str
    schema_version: str
    feature_widths: tuple[int, ...]
    features: tuple[FeatureIdentity | None, ...]
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
        """Width of a frame's feature vector, the sum of its parts."""
        return sum(self.feature_widths)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values, the inverse of `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "DatasetMetadata":
        """Returns the metadata that `to_json` turned into plain JSON values.

        Raises:
          ValueError, TypeError, KeyError: they are of something else.
        """
        widths = tuple(content["feature_widths"])
        counts = [*dict(content["clips"]).values(), *dict(content["queries"]).values()]
        if any(type(number) is not int for number in (*widths, *counts)):
            raise ValueError("widths of features, or numbers of records, that are not whole")
        return cls(
            **content
            | {
                "feature_widths": widths,
                "features": feature_identities(content.get("features"), len(widths)),
                "special_ids": SpecialIds(**content["special_ids"]),
                "word_ids": tuple(content["word_ids"]),
            }
        )

    @classmethod
    def load(cls, dataset_dir: str | os.PathLike) -> "DatasetMetadata":
        """Reads the metadata of a finished dataset.

        Raises:
          InputError: the folder holds no finished dataset, or its metadata is damaged.
        """
        path = records_dir(dataset_dir, "clips") / "metadata.json"
        if not path.is_file():
            raise InputError(_why_no_dataset(user_path(dataset_dir)))
        try:
            return cls.from_json(parse_json(path.read_bytes()))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} does not describe a dataset ({reason(error)}): build the dataset again, "
                "over the old one"
            ) from error


def feature_identities(content: Any, parts: int) -> tuple[FeatureIdentity | None, ...]:
    """Returns the networks of all parts of JSON values; None, as earlier versions left it: unknown.

    Raises:
      ValueError: they are of something else, or of another number of parts.
    """
    if content is None:
        return (None,) * parts
    if not isinstance(content, list | tuple) or len(content) != parts:
        raise ValueError(f"features are no list of {parts} networks")
    return tuple(map(FeatureIdentity.from_json, content))


def records_dir(dataset_dir: str | os.PathLike, kind: str) -> Path:
    """Folder of a dataset's shards of one kind of records, 'clips' or 'queries'.

    A builder moves the finished clips here last, so a dataset whose clips are here is complete.
    """
    return user_path(dataset_dir) / kind / SCHEMA_VERSION


def building_dir(dataset_dir: str | os.PathLike) -> Path:
    """Folder of the shards of an unfinished dataset."""
    return user_path(dataset_dir) / "building"


def tokenizer_path(dataset_dir: str | os.PathLike) -> Path:
    """Path of the tokenizer that made a dataset's token ids."""
    return user_path(dataset_dir) / "tokenizer.json"


def _why_no_dataset(folder: Path) -> str:
    """Error message for a folder without a finished dataset."""
    how = "`python -m data.build`"
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
            f"dataset {folder} is half-built, its build was interrupted: run the same build again, "
            "it continues where it stopped"
        )
    return f"{folder} holds no dataset: name another folder, or build one there with {how}"
