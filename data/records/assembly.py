"""Makes the clips and queries of records from those of importers, and refuses unusable ones."""

import itertools
from collections.abc import Sequence

import numpy as np

from data.arguments import texts
from data.errors import InputError
from data.records.alignment import align
from data.schema import Clip, Query, RawClip, RawQuery
from data.tokenizer import Tokenizer, lower_shouting, normalise_subtitle

# Numbers of frames of later times do not fit float32.
MOST_SECONDS = 1e30


def make_clip(
    raw: RawClip, widths: tuple[int, ...], tokenizer: Tokenizer, seconds_per_feature: float
) -> Clip:
    """Joins a clip's feature parts; sorts, tokenises and aligns its subtitles.

    Args:
      raw: clip of an importer.
      widths: widths that its feature parts must have.
      tokenizer: makes the token ids.
      seconds_per_feature: seconds between two frames.

    Raises:
      InputError: the clip has no frames, features that do not fit, or impossible times.
    """
    frame_features = _join(raw, widths)
    for subtitle in raw.subtitles:
        if not -MOST_SECONDS < subtitle.start <= subtitle.end < MOST_SECONDS:
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
    duration = num_frames * seconds_per_feature if raw.duration is None else raw.duration
    return Clip(
        clip_id=raw.clip_id,
        frame_features=frame_features,
        duration=duration,
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
    """Tokenises a query and its answers.

    Text in capitals is lower-cased, except in captions, as in the original.

    Args:
      raw: query of an importer.
      query_type: one of `schema.QUERY_TYPES`.
      tokenizer: makes the token ids.
    """
    normalise = str if query_type == "caption" else lower_shouting
    answers = texts(raw.answers, f"answers of query {raw.query_id!r}")
    (token_ids,) = _encode([normalise(raw.text)], [raw.token_ids], tokenizer)
    answer_ids = _encode(
        [normalise(answer) for answer in answers],
        raw.answer_token_ids or [None] * len(answers),
        tokenizer,
    )
    return Query(
        query_id=raw.query_id,
        clip_id=raw.clip_id,
        text=raw.text,
        token_ids=np.array(token_ids, np.int32),
        moments=np.array(raw.moments, np.float64).reshape(-1, 2),
        kind=raw.kind,
        answers=tuple(answers),
        answer_token_ids=np.array([*itertools.chain.from_iterable(answer_ids)], np.int32),
        answer_token_counts=np.array([len(ids) for ids in answer_ids], np.int32),
        label=raw.label,
        group=raw.group,
    )


def _encode(
    texts: Sequence[str], stored: Sequence[Sequence[int] | None], tokenizer: Tokenizer
) -> list[Sequence[int]]:
    """Returns the token ids of each text: those stored in its source, or else the tokenizer's."""
    return [
        tokenizer.encode(text) if ids is None else ids
        for text, ids in zip(texts, stored, strict=True)
    ]


def check_part(part: np.ndarray, name: str) -> None:
    """Checks that a part of a clip's features is finite and has frames and a width.

    Args:
      part: `[frames, width]`.
      name: name of the part, with which the sentence of the error begins.

    Raises:
      InputError: the part cannot be used.
    """
    if part.ndim != 2 or not np.issubdtype(part.dtype, np.floating):
        raise InputError(
            f"{name} is {part.dtype}{list(part.shape)}: floating point [frames, width] is needed"
        )
    if not part.size:
        raise InputError(
            f"{name} has no frames ({list(part.shape)}): extract it again or leave it out"
        )
    with np.errstate(over="ignore"):
        bad_frames = np.flatnonzero(~np.isfinite(part.astype(np.float16, copy=False)).all(1))
    if bad_frames.size:
        raise InputError(
            f"{name} has NaN or infinite values, or larger ones than float16 holds, in frame "
            f"{bad_frames[0]}: extract it again"
        )


def feature_widths(raw: RawClip) -> tuple[int, ...]:
    """Checks the parts of a clip's features and returns their widths.

    Raises:
      InputError: a part cannot be used.
    """
    for index, part in enumerate(raw.features):
        check_part(part, f"part {index} of the features of clip {raw.clip_id}")
    return tuple(part.shape[1] for part in raw.features)


def _join(raw: RawClip, widths: tuple[int, ...]) -> np.ndarray:
    """Returns the clip's parts side by side: `[frames, sum(widths)]` float16."""
    clip_widths = feature_widths(raw)
    if clip_widths != widths:
        raise InputError(
            f"clip {raw.clip_id} has features of widths {clip_widths} where other clips have "
            f"{widths}: use the same networks for all"
        )
    lengths = [len(part) for part in raw.features]
    if len(set(lengths)) > 1:
        raise InputError(
            f"clip {raw.clip_id} has feature parts of {lengths} frames: cut them to the same number"
        )
    return np.concatenate([part.astype(np.float16, copy=False) for part in raw.features], axis=1)
