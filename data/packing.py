"""Packs clips of very different lengths into batches of one fixed shape.

A subtitle with its frames is a *segment*; whole segments lie side by side in rows of T slots, told
apart by `segment_ids`. A batch has G groups of at most C clips in R rows; all segments of a clip
lie in rows of its own group. Queries (held-out subtitles, or annotated ones) are packed the same
way into rows of their own. For one group, a batch holds

  clip_numbers     [C] int32           number of the clip's record; what is drawn depends on it
  frame_features   [C, F, D] float16   zero beyond num_frames
  num_frames       [C] int32           0: no clip
  token_ids        [R, T] int32        `[SEP] words` at text slots, `[PAD]` elsewhere
  position_ids     [R, T] int32        of words from the special token, of frames in the segment
  segment_ids      [R, T] int32        from 1 in every row; 0 is padding
  frame_index      [R, T] int32        which of the C·F frames sits in a slot, -1 for none
  frame_slot       [C, F] int32        the inverse: which of the R·T slots, -1 for none
  clip_index       [R, T] int32        which of the C clips a slot belongs to
  subtitle_index   [R, T] int32        which segment of its clip
  held_out         [R, T] bool         a word of a subtitle that is a query of this batch
  query_token_ids, query_position_ids, query_segment_ids  [Rq, T]   `[CLS] words`
  query_index      [Rq, T] int32       which of the N queries a slot belongs to, -1 for none
  query_clip       [N] int32           which of the C clips it is about
  query_spans      [N, 2] int32        first and last frame, inclusive
  query_mask       [N] bool

and a batch has these with a leading G. Nothing is dropped: a clip that does not fit waits.
"""

import dataclasses
import itertools

import numpy as np

from data.errors import InputError

# Frames that share a segment when a clip has no subtitles (the original's rule).
FRAMES_WITHOUT_SUBTITLE = 5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A clip laid out as segments, one after the other, ready to be put into rows.

    slot_*: arrays over all slots of all segments; `subtitle` is -1 at frames and special tokens,
    `frame` is -1 at text. lengths: slots of each segment.
    """

    number: int
    clip_id: str
    frame_features: np.ndarray
    lengths: np.ndarray
    slot_token: np.ndarray
    slot_position: np.ndarray
    slot_frame: np.ndarray
    slot_segment: np.ndarray
    slot_subtitle: np.ndarray
    subtitles: list[list[int]]
    spans: dict[int, tuple[int, int]]
    annotated: tuple
    cut_tokens: int
    cut_frames: int


def prepare(clip, number, config, metadata, queries=()) -> Prepared:
    """Lays a clip out as segments.

    Args:
      clip: `data.schema.Clip`.
      number: of its record.
      config: the experiment's `batch` block.
      metadata: `data.schema.DatasetMetadata`, for special tokens and the frame rate.
      queries: `data.schema.Query` annotated of the clip.

    Raises:
      InputError: a clip without frames, or a segment longer than a row.
    """
    num_frames = min(len(clip.frame_features), config.max_frames)
    if not num_frames:
        raise InputError(
            f"Clip {clip.clip_id!r} has no frames; leave it out of the splits or add its features."
        )
    words, cut_tokens = _words(clip, config.max_tokens)
    frames_of = [[] for _ in words]
    for frame, j in enumerate(clip.frame_subtitle[:num_frames].tolist()):
        if j >= 0:
            frames_of[j].append(frame)
    segments, cut = _segments(words, frames_of, num_frames, config)
    slots = [_segment_slots(*segment, words, metadata.special_ids) for segment in segments]
    lengths = np.array([len(s[0]) for s in slots])
    if lengths.max() > config.row_length:
        raise InputError(
            f"Clip {clip.clip_id!r} has a subtitle of {lengths.max()} frames and tokens, which "
            f"does not fit a row; raise config.batch.row_length above {config.row_length} or lower "
            "config.batch.max_tokens or max_frames."
        )
    token, position, frame, subtitle = (
        np.array([*itertools.chain.from_iterable(x)], np.int32) for x in zip(*slots, strict=True)
    )
    return Prepared(
        number=number,
        clip_id=clip.clip_id,
        frame_features=clip.frame_features[:num_frames],
        lengths=lengths,
        slot_token=token,
        slot_position=position,
        slot_frame=frame,
        slot_segment=np.repeat(np.arange(len(slots)), lengths),
        slot_subtitle=subtitle,
        subtitles=words,
        spans={j: subtitle_span(f, num_frames) for j, f in enumerate(frames_of) if f and words[j]},
        annotated=tuple(
            (
                query.token_ids[: config.max_tokens],
                moment_span(query.moment, metadata.seconds_per_feature, num_frames),
            )
            for query in queries
        ),
        cut_tokens=cut_tokens
        + cut
        + sum(max(len(query.token_ids) - config.max_tokens, 0) for query in queries),
        cut_frames=len(clip.frame_features) - num_frames,
    )


def _words(clip, most):
    """Token ids of each subtitle, at most so many, and how many are cut."""
    token_ids, words, end = clip.token_ids.tolist(), [], 0
    for count in clip.token_counts:
        words.append(token_ids[end : end + min(count, most)])
        end += count
    return words, len(token_ids) - sum(map(len, words))


def subtitle_span(frames, num_frames) -> tuple[int, int]:
    """The span of a subtitle's frames, at least two frames where the clip has them."""
    return frames[0], min(max(frames[-1], frames[0] + 1), num_frames - 1)


def moment_span(moment, seconds_per_feature, num_frames) -> tuple[int, int]:
    """The span of a moment in seconds, as the original computes frame targets; None: all."""
    if moment is None:
        return 0, num_frames - 1
    start = min(int(moment[0] // seconds_per_feature), num_frames - 1)
    end = max(int(np.ceil(moment[1] / seconds_per_feature)) - 1, start + 1)
    return start, min(end, num_frames - 1)


def _segments(words, frames_of, num_frames, config):
    """(frames, numbers of the subtitles whose words it has, tokens allowed), and tokens cut."""
    if config.segmentation == "clip":
        everything = range(num_frames)
        room = max(min(config.max_clip_tokens, config.row_length - num_frames - 1), 0)
        cut = max(sum(map(len, words)) - room, 0)
        return [(everything, range(len(words)), room)], cut
    if not words:
        starts = range(0, num_frames, FRAMES_WITHOUT_SUBTITLE)
        return [(range(s, min(s + FRAMES_WITHOUT_SUBTITLE, num_frames)), (), 0) for s in starts], 0
    before = config.context_subtitles
    room = config.max_tokens * (before + 1)
    return [
        (frames, range(max(j - before, 0), j + 1), room) for j, frames in enumerate(frames_of)
    ], 0


def _segment_slots(frames, subtitles, room, words, tokens):
    """token, position, frame and subtitle of each slot of one segment.

    Lists, since segments are too short for NumPy's calls to pay.
    """
    owner = [j for j in subtitles for _ in words[j]][:room]
    text = [tokens.sep, *itertools.chain.from_iterable(words[j] for j in subtitles)][: room + 1]
    n, m = len(frames), len(text)
    return (
        [tokens.pad] * n + text,
        [*range(n), *range(m)],
        [*frames, *[-1] * m],
        [-1] * (n + 1) + owner,
    )


def drawn_subtitles(seed, step, count):
    """Chooses `count` of a clip's subtitles that have frames and words, by seed, step and clip."""

    def choose(prepared):
        generator = np.random.default_rng([seed, step, prepared.number])
        chosen = np.sort(generator.permutation(sorted(prepared.spans))[:count]).astype(int)
        return chosen, [(prepared.subtitles[j], prepared.spans[j]) for j in chosen]

    return choose


def annotated_queries(prepared):
    """The clip's own queries; no subtitle is held out."""
    return np.empty(0, int), list(prepared.annotated)


class Rows:
    """Free space in the rows of one group, filled by best fit."""

    def __init__(self, rows, row_length):
        self.free = np.full(rows, row_length)
        self.segments = np.zeros(rows, np.int64)
        self.row_length = row_length

    def place(self, lengths):
        """Finds room for segments, longest first, each where the least space stays free.

        Returns:
          (first slot in the flattened rows, segment id) of each segment, or None, with nothing
          changed, if they do not all fit.
        """
        free, segments = self.free.copy(), self.segments.copy()
        first = np.empty(len(lengths), np.int64)
        ids = np.empty(len(lengths), np.int32)
        for i in np.argsort(-lengths, kind="stable"):
            length = lengths[i]
            row = np.where(free >= length, free, self.row_length + 1).argmin()
            if free[row] < length:
                return None
            first[i] = (row + 1) * self.row_length - free[row]
            free[row] -= length
            segments[row] += 1
            ids[i] = segments[row]
        self.free, self.segments = free, segments
        return first, ids


class GroupPacker:
    """Fills one group of one batch, clip by clip.

    Args:
      arrays: the group's arrays, as `empty_batch` makes them, without the leading G.
      choose: the queries of a clip: `Prepared -> (numbers of the subtitles held out, [(words,
        span), ...])`, as `drawn_subtitles` or `annotated_queries`.
    """

    def __init__(self, arrays, config, tokens, choose):
        self.arrays = arrays
        self.config = config
        self.tokens = tokens
        self.choose = choose
        self.rows = Rows(config.rows_per_group, config.row_length)
        self.query_rows = Rows(config.query_rows_per_group, config.row_length)
        self.clips = 0
        self.queries = 0
        self.counts = dict.fromkeys(COUNTS, 0)

    @property
    def full(self) -> bool:
        """Whether all places for clips are taken."""
        return self.clips == self.config.clips_per_group

    def add(self, prepared: Prepared) -> bool:
        """Packs a clip with its queries; False, and nothing changed, if it does not fit."""
        held_out, queries = self.choose(prepared)
        if self.queries + len(queries) > len(self.arrays["query_mask"]):
            return False
        before = self.query_rows.free, self.query_rows.segments
        query_places = self.query_rows.place(np.array([len(q) + 1 for q, _ in queries], int))
        if query_places is None:
            return False
        places = self.rows.place(prepared.lengths)
        if places is None:
            self.query_rows.free, self.query_rows.segments = before
            return False
        self._write_clip(prepared, held_out, *places)
        for (words, span), first, segment in zip(queries, *query_places, strict=True):
            self._write_query(words, span, first, segment)
        self.clips += 1
        self._count(prepared, queries)
        return True

    def _write_clip(self, prepared, held_out, first, segment_ids):
        arrays, c = self.arrays, self.clips
        num_frames = len(prepared.frame_features)
        offsets = np.cumsum(prepared.lengths) - prepared.lengths
        slot = np.repeat(first - offsets, prepared.lengths) + np.arange(len(prepared.slot_token))
        is_frame = prepared.slot_frame >= 0
        frame = prepared.slot_frame[is_frame]
        frame_index = np.full(len(slot), -1, np.int32)
        frame_index[is_frame] = c * self.config.max_frames + frame
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
        arrays["frame_slot"][c, frame] = slot[is_frame]
        arrays["frame_features"][c, :num_frames] = prepared.frame_features
        arrays["num_frames"][c] = num_frames
        arrays["clip_numbers"][c] = prepared.number

    def _write_query(self, words, span, first, segment):
        arrays, n = self.arrays, self.queries
        slots = slice(first, first + len(words) + 1)
        tokens = arrays["query_token_ids"].reshape(-1)[slots]
        tokens[0], tokens[1:] = self.tokens.cls, words
        arrays["query_position_ids"].reshape(-1)[slots] = np.arange(len(words) + 1)
        arrays["query_segment_ids"].reshape(-1)[slots] = segment
        arrays["query_index"].reshape(-1)[slots] = n
        arrays["query_clip"][n] = self.clips
        arrays["query_spans"][n] = span
        arrays["query_mask"][n] = True
        self.queries += 1

    def _count(self, prepared, queries):
        text = prepared.slot_frame < 0
        for name, value in (
            ("clips", 1),
            ("segments", len(prepared.lengths)),
            ("tokens", int(text.sum())),
            ("frames", len(prepared.frame_features)),
            ("queries", len(queries)),
            ("filled_slots", len(text)),
            ("filled_query_slots", sum(len(q) + 1 for q, _ in queries)),
            ("cut_tokens", prepared.cut_tokens),
            ("cut_frames", prepared.cut_frames),
        ):
            self.counts[name] += value


# What is counted of every batch: sums over its groups.
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
)


def empty_batch(groups, config, feature_size, pad) -> dict[str, np.ndarray]:
    """Arrays of a batch with nothing in it; shapes in the module's docstring."""
    clips, frames = config.clips_per_group, config.max_frames
    rows, query_rows, length = (
        config.rows_per_group,
        config.query_rows_per_group,
        config.row_length,
    )
    queries = clips * config.queries_per_clip

    def full(shape, value=0, dtype=np.int32):
        return np.full((groups, *shape), value, dtype)

    return {
        "clip_numbers": full((clips,)),
        # Zeros that cost nothing until they are written.
        "frame_features": np.zeros((groups, clips, frames, feature_size), np.float16),
        "num_frames": full((clips,)),
        "token_ids": full((rows, length), pad),
        "position_ids": full((rows, length)),
        "segment_ids": full((rows, length)),
        "frame_index": full((rows, length), -1),
        "frame_slot": full((clips, frames), -1),
        "clip_index": full((rows, length)),
        "subtitle_index": full((rows, length)),
        "held_out": full((rows, length), False, bool),
        "query_token_ids": full((query_rows, length), pad),
        "query_position_ids": full((query_rows, length)),
        "query_segment_ids": full((query_rows, length)),
        "query_index": full((query_rows, length), -1),
        "query_clip": full((queries,)),
        "query_spans": full((queries, 2)),
        "query_mask": full((queries,), False, bool),
    }
