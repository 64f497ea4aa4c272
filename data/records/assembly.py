"""Makes records' clips and queries of what importers hand over, and refuses what cannot be one."""

import itertools
from collections.abc import Sequence

import numpy as np

from data.errors import InputError
from data.records.alignment import align
from data.schema import Clip, Query, RawClip, RawQuery
from data.tokenizer import Tokenizer, lower_shouting, normalise_subtitle


def make_clip(
    raw: RawClip, widths: tuple[int, ...], tokenizer: Tokenizer, seconds_per_feature: float
) -> Clip:
    """Joins feature parts, tokenises and aligns subtitles; puts subtitles in order of their starts.

    Args:
      raw: the clip.
      widths: what its feature parts have to measure.
      tokenizer: makes the token ids.
      seconds_per_feature: seconds between two frames.

    Raises:
      InputError: the clip has no frames, or features that do not fit, or impossible times.
    """
    frame_features = _join(raw, widths)
    for subtitle in raw.subtitles:
        if not -np.inf < subtitle.start <= subtitle.end < np.inf:
            raise InputError(
                f"clip {raw.clip_id}: a subtitle lasts from {subtitle.start} to {subtitle.end} "
                f"seconds ({subtitle.text!r}): correct its times"
            )
    subtitles = sorted(raw.subtitles, key=lambda subtitle: subtitle.start)
    token_ids = _encode(
        [normalise_subtitle(subtitle.text) for subtitle in subtitles],
        [subtitle.token_ids for subtitle in subtitles],
        tokenizer,
    )
    num_frames = len(frame_features)
    known = raw.duration is not None
    return Clip(
        clip_id=raw.clip_id,
        frame_features=frame_features,
        duration=raw.duration if known else num_frames * seconds_per_feature,
        subtitle_texts=tuple(subtitle.text for subtitle in subtitles),
        subtitle_starts=np.array([subtitle.start for subtitle in subtitles], np.float32),
        subtitle_ends=np.array([subtitle.end for subtitle in subtitles], np.float32),
        token_ids=np.array([*itertools.chain.from_iterable(token_ids)], np.int32),
        token_counts=np.array([len(ids) for ids in token_ids], np.int32),
        frame_subtitle=align(subtitles, num_frames, seconds_per_feature),
        story=raw.story,
        frame_images=raw.frame_images,
        video_id=raw.video_id,
        video_start=raw.video_start,
    )


def make_query(raw: RawQuery, query_type: str, tokenizer: Tokenizer) -> Query:
    """Tokenises the query and its answers; captions are taken as they are, as in the original."""
    normalise = str if query_type == "caption" else lower_shouting
    answer_ids = _encode(
        [normalise(answer) for answer in raw.answers],
        raw.answer_token_ids or [None] * len(raw.answers),
        tokenizer,
    )
    return Query(
        query_id=raw.query_id,
        clip_id=raw.clip_id,
        text=raw.text,
        token_ids=np.array(*_encode([normalise(raw.text)], [raw.token_ids], tokenizer), np.int32),
        moments=np.array(raw.moments, np.float64).reshape(-1, 2),
        kind=raw.kind,
        answers=raw.answers,
        answer_token_ids=np.array([*itertools.chain.from_iterable(answer_ids)], np.int32),
        answer_token_counts=np.array([len(ids) for ids in answer_ids], np.int32),
        label=raw.label,
        group=raw.group,
    )


def _encode(texts, stored, tokenizer: Tokenizer) -> list[Sequence[int]]:
    """Token ids of each text: those that its source stores, or the tokenizer's."""
    return [
        tokenizer.encode(text) if ids is None else ids
        for text, ids in zip(texts, stored, strict=True)
    ]


def check_part(part: np.ndarray, name: str) -> None:
    """InputError, beginning with `name`, unless `part` is finite and has frames and a width."""
    if part.ndim != 2 or not np.issubdtype(part.dtype, np.floating):
        raise InputError(
            f"{name} is {part.dtype}{list(part.shape)}: floating point [frames, width] is needed"
        )
    if not part.size:
        raise InputError(
            f"{name} has no frames ({list(part.shape)}): extract it again or leave it out"
        )
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(part.astype(np.float16, copy=False)).all(1))
    if bad.size:
        raise InputError(
            f"{name} has NaN or infinite values, or larger ones than float16 holds, in frame "
            f"{bad[0]}: extract it again"
        )


def feature_widths(raw: RawClip) -> tuple[int, ...]:
    """Widths of the parts of a clip's features, each of which is checked."""
    for index, part in enumerate(raw.features):
        check_part(part, f"clip {raw.clip_id}: part {index} of its features")
    return tuple(part.shape[1] for part in raw.features)


def _join(raw: RawClip, widths: tuple[int, ...]) -> np.ndarray:
    """The clip's parts side by side: `[frames, sum(widths)]` float16."""
    found = feature_widths(raw)
    if found != widths:
        raise InputError(
            f"clip {raw.clip_id} has features of widths {found} where other clips have {widths}: "
            "use the same networks for all"
        )
    lengths = [len(part) for part in raw.features]
    if len(set(lengths)) > 1:
        raise InputError(
            f"clip {raw.clip_id}: the parts of its features have {lengths} frames: cut them to the "
            "same number"
        )
    return np.concatenate([part.astype(np.float16, copy=False) for part in raw.features], axis=1)
