"""Packs clips of very different lengths into batches of one fixed shape.

A subtitle with its frames is a *segment*. Whole segments lie side by side in rows of T slots, and
`segment_ids` tell them apart. A batch has G groups of at most C clips in R rows; all segments of a
clip lie in rows of its own group. Queries (held-out subtitles, or annotated queries) are packed in
the same way into rows of their own, and so are the frames of whole clips, into P rows of L slots. A
task may read a clip in V versions, such as once with each answer to a question
(`data/pipeline/choices.py`); otherwise V is 1. For one group, a batch holds

  clip_numbers     [C] int32           number of the clip's record; random draws depend on it
  num_frames       [C] int32           at most F; 0: no clip
  frame_features   [P, L, D] float16   the frames of a clip follow each other; zero in padding
  frame_place      [P, L] int32        number of the frame in a slot, of C·F; -1 for none
  clip_slot        [C, F] int32        the inverse: number of the slot, of P·L; -1 for none
  token_ids        [R, T] int32        `[SEP] words` at text slots, `[PAD]` elsewhere
  position_ids     [R, T] int32        of words from the special token, of frames in the segment
  segment_ids      [R, T] int32        from 1 in every row; 0 is padding
  frame_index      [R, T] int32        number of the frame's slot, of P·V·L; -1 for none
  frame_slot       [P·V, L] int32      the inverse: number of the slot, of R·T; -1 for none
  clip_index       [R, T] int32        number of the slot's clip, of C
  subtitle_index   [R, T] int32        number of the segment in its clip
  held_out         [R, T] bool         True at words of a subtitle that is a query of this batch
  subtitle_slot    [C·V, S] int32      slot of a subtitle's special token, of R·T; -1 for none; only
                                       if `max_subtitles`, which is S, is not 0
  query_token_ids, query_position_ids, query_segment_ids  [Rq, T]   `[CLS] words`
  query_index      [Rq, T] int32       number of the slot's query, of N; -1 for none
  query_clip       [N] int32           number of the clip that a query is about, of C
  query_spans      [N, 2] int32        first and last frame, inclusive
  query_mask       [N] bool            True for a query, False for padding

and a batch has these with a leading G. Nothing is dropped: a clip that does not fit waits.
"""

from collections.abc import Sequence

import numpy as np

from data.config import Config
from data.pipeline.asking import Choose, Words
from data.pipeline.segments import Prepared, Rows
from data.schema import SpecialIds


class ClipPacker:
    """Fills one group of one batch with clips, and, in subclasses, with queries about them.

    Args:
      arrays: the group's arrays, as `clip_arrays` makes them, without the leading G.
      config: the experiment's `batch` block.

    Attributes:
      clips: number of clips so far.
      counts: `COUNTS` of what has been packed.
    """

    def __init__(self, arrays: dict[str, np.ndarray], config: Config):
        self.arrays = arrays
        self.config = config
        self.rows = Rows(config.rows_per_group, config.row_length)
        self.frame_rows = Rows(*arrays["frame_place"].shape)
        self.clips = 0
        self.counts = dict.fromkeys(COUNTS, 0)

    @property
    def full(self) -> bool:
        """Returns whether all places for clips are taken."""
        return self.clips == self.config.clips_per_group

    @property
    def empty(self) -> bool:
        """Returns whether there is no clip yet."""
        return not self.clips

    def add(self, item: Prepared) -> bool:
        """Packs a clip and its queries; returns False, and changes nothing, if they do not fit."""
        before = [(rows, rows.free, rows.segments) for rows in (self.rows, self.frame_rows)]
        places = self.rows.place(item.lengths)
        frames = self.frame_rows.place(np.array([self._frame_slots(item)]))
        if places and frames and (held_out := self._ask(item)) is not None:
            self._write_frames(item, int(frames[0][0]))
            self._write_segments(item, held_out, *places)
            self.clips += 1
            self._count(item)
            return True
        for rows, free, segments in before:
            rows.free, rows.segments = free, segments
        return False

    def refusal(self, item: Prepared) -> str:
        """Returns the message of the error that a clip does not fit an empty group."""
        config = self.config
        return (
            f"clip {item.clip_id!r} with {len(item.slot_token)} frames and tokens or its queries "
            f"do not fit an empty group of {config.rows_per_group} rows and "
            f"{config.query_rows_per_group} query rows of {config.row_length} slots: raise "
            "batch.rows_per_group, batch.query_rows_per_group or batch.queries_per_clip"
        )

    def _ask(self, prepared: Prepared) -> Sequence[int] | np.ndarray | None:
        """Writes the queries about the next clip.

        Returns:
          Numbers of the held-out subtitles; None, with nothing written, if there is no room.
        """
        del prepared
        return ()

    def _frame_slots(self, prepared: Prepared) -> int:
        """Returns the number of slots of a frame row that the next clip takes."""
        return len(prepared.frame_features)

    def _write_frames(self, prepared: Prepared, first: int) -> None:
        arrays, c = self.arrays, self.clips
        num_frames, width = prepared.frame_features.shape
        slots = slice(first, first + num_frames)
        first_place = c * arrays["clip_slot"].shape[1]
        arrays["frame_place"].reshape(-1)[slots] = first_place + np.arange(num_frames)
        arrays["frame_features"].reshape(-1, width)[slots] = prepared.frame_features
        arrays["clip_slot"][c, :num_frames] = first + np.arange(num_frames)
        arrays["num_frames"][c] = num_frames
        arrays["clip_numbers"][c] = prepared.number

    def _write_segments(
        self,
        prepared: Prepared,
        held_out: Sequence[int] | np.ndarray,
        first: np.ndarray,
        segment_ids: np.ndarray,
    ) -> None:
        arrays, c = self.arrays, self.clips
        offsets = np.cumsum(prepared.lengths) - prepared.lengths
        slot = np.repeat(first - offsets, prepared.lengths) + np.arange(len(prepared.slot_token))
        is_frame = prepared.slot_frame >= 0
        version, frame = np.divmod(prepared.slot_frame[is_frame], arrays["clip_slot"].shape[1])
        rows, row_length = arrays["frame_place"].shape
        versions = len(arrays["frame_slot"]) // rows
        row, column = np.divmod(arrays["clip_slot"][c, frame], row_length)
        frame_index = np.full(len(slot), -1, np.int32)
        frame_index[is_frame] = (row * versions + version) * row_length + column
        for name, values in (
            ("token_ids", prepared.slot_token),
            ("position_ids", prepared.slot_position),
            ("segment_ids", np.repeat(segment_ids, prepared.lengths)),
            ("frame_index", frame_index),
            ("clip_index", c),
            ("subtitle_index", prepared.slot_segment),
            ("held_out", np.isin(prepared.slot_subtitle, held_out)),
        ):
            arrays[name].reshape(-1)[slot] = values
        arrays["frame_slot"].reshape(-1)[frame_index[is_frame]] = slot[is_frame]
        if "subtitle_slot" in arrays:
            special = slot[~is_frame & (prepared.slot_position == 0)]
            special = special.reshape(prepared.versions, -1)
            place = slice(c * versions, c * versions + prepared.versions)
            arrays["subtitle_slot"][place, : special.shape[1]] = special

    def _count(self, prepared: Prepared) -> None:
        text = prepared.slot_frame < 0
        for name, value in (
            ("clips", 1),
            ("segments", len(prepared.lengths)),
            ("tokens", int(text.sum())),
            ("frames", len(prepared.frame_features)),
            ("filled_slots", len(text)),
            ("cut_tokens", prepared.cut_tokens),
            ("cut_frames", prepared.cut_frames),
            ("cut_moments", prepared.cut_moments),
        ):
            self.counts[name] += value


class GroupPacker(ClipPacker):
    """Fills one group of one batch with clips, and with queries in rows of their own.

    Args:
      arrays: the group's arrays, as `empty_batch` makes them, without the leading G.
      config: the experiment's `batch` block.
      tokens: the special tokens.
      choose: chooses the queries of a clip, such as `data.pipeline.asking.annotated_queries`.
    """

    def __init__(
        self, arrays: dict[str, np.ndarray], config: Config, tokens: SpecialIds, choose: Choose
    ):
        super().__init__(arrays, config)
        self.choose = choose
        self.query_rows = QueryRows(arrays, config, tokens)

    def _ask(self, prepared: Prepared) -> np.ndarray | None:
        held_out, queries = self.choose(prepared)
        first = self.query_rows.queries
        if not self.query_rows.add([words for words, _ in queries]):
            return None
        for n, (words, span) in enumerate(queries, first):
            self.arrays["query_clip"][n] = self.clips
            self.arrays["query_spans"][n] = span
            self.counts["filled_query_slots"] += len(words) + 1
        self.counts["queries"] += len(queries)
        return held_out


class QueryRows:
    """Queries in rows of a group, `[CLS] words` each.

    Args:
      arrays: the group's arrays, as `query_arrays` makes them, without the leading G.
      config: the experiment's `batch` block.
      tokens: the special tokens.

    Attributes:
      queries: number of queries so far.
    """

    def __init__(self, arrays: dict[str, np.ndarray], config: Config, tokens: SpecialIds):
        self.arrays = arrays
        self.tokens = tokens
        self.rows = Rows(config.query_rows_per_group, config.row_length)
        self.queries = 0

    def add(self, queries: Sequence[Words]) -> bool:
        """Packs queries; returns False, and changes nothing, if they do not all fit.

        Args:
          queries: token ids of the words of each query.
        """
        if self.queries + len(queries) > len(self.arrays["query_mask"]):
            return False
        places = self.rows.place(np.array([len(words) + 1 for words in queries], int))
        if places is None:
            return False
        for words, first, segment in zip(queries, *places, strict=True):
            self._write(words, first, segment)
        return True

    def _write(self, words: Words, first: int, segment: int) -> None:
        arrays, n = self.arrays, self.queries
        slots = slice(first, first + len(words) + 1)
        tokens = arrays["query_token_ids"].reshape(-1)[slots]
        tokens[0], tokens[1:] = self.tokens.cls, words
        arrays["query_position_ids"].reshape(-1)[slots] = np.arange(len(words) + 1)
        arrays["query_segment_ids"].reshape(-1)[slots] = segment
        arrays["query_index"].reshape(-1)[slots] = n
        arrays["query_mask"][n] = True
        self.queries += 1


# Counts of every batch, each a sum over its groups.
COUNTS = (
    "clips",
    "segments",
    "tokens",
    "frames",
    "queries",
    "filled_slots",
    "filled_query_slots",
    "cut_tokens",
    "cut_frames",
    "cut_moments",
)


def empty_batch(groups: int, config: Config, feature_size: int, pad: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a batch with nothing in it; shapes are in the module's docstring."""
    queries = config.clips_per_group * config.queries_per_clip
    return {
        **clip_arrays(groups, config, feature_size, pad),
        **query_arrays(groups, config, queries, pad),
        "query_clip": filled(groups, (queries,)),
        "query_spans": filled(groups, (queries, 2)),
    }


def clip_arrays(
    groups: int, config: Config, feature_size: int, pad: int, versions: int = 0
) -> dict[str, np.ndarray]:
    """Returns the arrays that clips and their subtitles fill, with nothing in them.

    Args:
      versions: number of versions of a clip, each of which has a frame row of its own; 0 for rows
        of the frames of several clips.
    """
    clips, frames = config.clips_per_group, config.max_frames
    rows = config.rows_per_group, config.row_length
    frame_rows, length = (clips, frames) if versions else frame_rows_of(config)
    return {
        "clip_numbers": filled(groups, (clips,)),
        "num_frames": filled(groups, (clips,)),
        # Unlike `np.full`, `np.zeros` takes no memory until it is written to.
        "frame_features": np.zeros((groups, frame_rows, length, feature_size), np.float16),
        "frame_place": filled(groups, (frame_rows, length), -1),
        "clip_slot": filled(groups, (clips, frames), -1),
        "token_ids": filled(groups, rows, pad),
        "position_ids": filled(groups, rows),
        "segment_ids": filled(groups, rows),
        "frame_index": filled(groups, rows, -1),
        "frame_slot": filled(groups, (frame_rows * max(versions, 1), length), -1),
        "clip_index": filled(groups, rows),
        "subtitle_index": filled(groups, rows),
        "held_out": filled(groups, rows, False, bool),
        **_subtitle_arrays(groups, config, clips * max(versions, 1)),
    }


def _subtitle_arrays(groups: int, config: Config, versions: int) -> dict[str, np.ndarray]:
    if not config.max_subtitles:
        return {}
    return {"subtitle_slot": filled(groups, (versions, config.max_subtitles), -1)}


def frame_rows_of(config: Config) -> tuple[int, int]:
    """Returns number and length of a group's frame rows, one for each clip if both are open."""
    return (
        config.frame_rows_per_group or config.clips_per_group,
        config.frame_row_length or config.max_frames,
    )


def query_arrays(groups: int, config: Config, queries: int, pad: int) -> dict[str, np.ndarray]:
    """Returns the arrays that queries in rows of their own fill, with nothing in them."""
    rows = config.query_rows_per_group, config.row_length
    return {
        "query_token_ids": filled(groups, rows, pad),
        "query_position_ids": filled(groups, rows),
        "query_segment_ids": filled(groups, rows),
        "query_index": filled(groups, rows, -1),
        "query_mask": filled(groups, (queries,), False, bool),
    }


def filled(
    groups: int, shape: tuple[int, ...], value: int = 0, dtype: type = np.int32
) -> np.ndarray:
    """Returns an array `[groups, *shape]` of one value."""
    return np.full((groups, *shape), value, dtype)
