"""The protocol of layouts: which items of a split a batch holds, and in which arrays.

`data.pipeline.batches.Batches` orders, reads and packs the items of any layout. A new layout is a
class of this protocol in a file of its own, which a task names directly, as in

    class QuestionAnswering(Task):
        layout = Choices

Layouts of a clip with queries about it derive from `data.pipeline.units.UnitLayout`, which leaves
`prepare`, `problem`, `arrays`, `packer` and `limits` to write; packers of clips derive from
`data.pipeline.packing.ClipPacker`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from data.config import Config
from data.report import Report
from data.schema import SpecialIds

# An item that is ready to be packed, as `Items.prepare` returns it.
Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)
ItemOut = TypeVar("ItemOut", covariant=True)


class Metadata(Protocol):
    """Properties of a dataset that layouts need; an export's features have them as well."""

    @property
    def special_ids(self) -> SpecialIds: ...

    @property
    def feature_width(self) -> int: ...

    @property
    def seconds_per_feature(self) -> float: ...

    @property
    def query_type(self) -> str: ...


class Limit(NamedTuple):
    """A number of a batch that must not exceed another field of the config.

    what: name of the number: an expression of fields such as "batch.max_tokens + 1", or a noun
      phrase about tokens.
    value: the number.
    field: path of the field with its maximum, such as "model.text_positions".
    """

    what: str
    value: int
    field: str


class Packer(Protocol[ItemIn]):
    """Adds prepared items to one group of one batch.

    Attributes:
      counts: numbers of what has been packed, one for each of `data.pipeline.packing.COUNTS`.
    """

    counts: dict[str, int]

    @property
    def full(self) -> bool:
        """Returns whether no other item needs to be tried."""

    @property
    def empty(self) -> bool:
        """Returns whether nothing has been packed."""

    def add(self, item: ItemIn) -> bool:
        """Packs an item; returns False, and changes no array, if it does not fit."""

    def refusal(self, item: ItemIn) -> str:
        """Returns the message of the error that an item does not fit an empty group."""


@runtime_checkable
class Items(Protocol[ItemOut]):
    """The items of one split, numbered from 0.

    Attributes:
      name: name of the dataset, for messages.
      left_out: what the split has and the items do not.
    """

    name: str
    left_out: Report

    def __len__(self) -> int:
        """Number of items."""

    def prepare(self, number: int) -> ItemOut | None:
        """Returns an item ready to be packed, or None for a damaged record that is skipped.

        Must be safe to call from several threads.
        """

    def order(self, seed: int) -> Callable[[int], int]:
        """Returns the order of training: from a position, without end, to the number of an item."""

    def sample(self, count: int) -> np.ndarray:
        """Returns the numbers of at most `count` items, spread evenly."""

    def counts(self, arrays: dict[str, np.ndarray]) -> dict[str, int]:
        """Returns counts of a batch besides those of its packers, `clips/SOURCE` and `corrupt`."""


@runtime_checkable
class Layout(Protocol[Item]):
    """One kind of batch: its items and its arrays.

    Attributes:
      name: name of the layout.
      annotated: whether `items` takes a `data.pipeline.units.AnnotatedSplit`; otherwise it takes a
        `data.records.reader.Split` or a `data.pipeline.mixture.Mixture` of them.
      config: the experiment's `batch` block.
    """

    name: ClassVar[str]
    annotated: ClassVar[bool]
    config: Config

    def __init__(self, config: Config, metadata: Metadata):
        """Makes the layout of a dataset's batches.

        Args:
          config: the experiment's `batch` block.
          metadata: the dataset's.
        """

    def items(self, data: Any, *, training: bool) -> Items[Item]:
        """Returns the items of a split.

        Args:
          data: the split, of the type that `annotated` says.
          training: whether items that cannot be trained on are left out.
        """

    def arrays(self, groups: int) -> dict[str, np.ndarray]:
        """Returns the arrays `[groups, ...]` of a batch with nothing in it."""

    def packer(self, arrays: dict[str, np.ndarray], seed: int = 0, step: int = 0) -> Packer[Item]:
        """Returns a packer that fills one group.

        Args:
          arrays: the group's arrays, without the leading axis.
          seed, step: what is drawn for an item depends on them and on the item alone.
        """

    def slots(self, item: Item) -> tuple[int, int, list[int]]:
        """Returns the slots that an item fills in rows.

        Returns:
          Slots in the rows of clips and in those of frames, and slots of each query in the rows of
          queries.
        """

    @staticmethod
    def limits(config: Config, block: str) -> list[Limit]:
        """Returns the limits that the batch has to keep.

        Args:
          config: the experiment's whole config.
          block: name of the settings of the task that reads the batches, '' in pre-training.
        """


def segment_limits(config: Config, more_tokens: int = 0) -> list[Limit]:
    """Returns the limits of clips that the encoder reads as segments.

    Args:
      config: the experiment's whole config.
      more_tokens: number of tokens that may follow the text of a segment.
    """
    batch = config.batch
    words = batch.max_tokens * (batch.context_subtitles + 1)
    if batch.segmentation == "clip":
        words = batch.max_clip_tokens
    in_row = [Limit("batch.max_frames", batch.max_frames, "batch.frame_row_length")]
    # Without frames beside them, words and subtitles begin at position 2.
    before = 0 if config.model.fusion == "cross_modal" else 2
    last = Limit("batch.max_subtitles + 2", batch.max_subtitles + before, "model.text_positions")
    return [
        *(in_row if batch.frame_row_length else []),
        *([last] if batch.max_subtitles else []),
        Limit("batch.max_frames", batch.max_frames, "model.segment_frames"),
        Limit("batch.max_frames", batch.max_frames, "model.clip_positions"),
        Limit(
            "the longest text of a segment with its special tokens",
            words + more_tokens + 1 + before,
            "model.text_positions",
        ),
    ]


def query_limits(config: Config) -> list[Limit]:
    """Returns the limits of queries that the query encoder reads in rows."""
    longest = config.batch.max_query_tokens + 1
    return [
        Limit("batch.max_query_tokens + 1", longest, field)
        for field in ("model.text_positions", "model.query_positions", "batch.row_length")
    ]
