"""Checks what users give to a model: features, subtitles, clips, queries and moments."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.arguments import instance, number, refusal, several, text, texts
from data.errors import InputError
from data.networks import Agreement, Networks, compare, in_words
from data.schema import Clip, DatasetMetadata, RawQuery, RawSubtitle


def feature_parts(
    features: np.ndarray | Sequence[Any], widths: tuple[int, ...], clip_id: str
) -> tuple[np.ndarray, ...]:
    """Returns the parts of a clip's features, `[frames, width]` each.

    Args:
      features: all parts side by side, or a sequence of parts; what is not an array becomes one.
      widths: of the parts that the model reads.

    Raises:
      InputError: they are no such arrays, or of other widths.
    """
    needed = f"floating point numbers [frames, {sum(widths)}]"
    if len(widths) > 1:
        needed += f", or a list of parts of widths {widths}"
    if isinstance(features, Iterator):
        features = [*features]
    parts = []
    for part in features if _is_list_of_parts(features) else [features]:
        array = _array(part)
        if array is None or array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise refusal(f"clip {clip_id}: features", part if array is None else array, needed)
        parts.append(array)
    if len(parts) == 1 and parts[0].shape[1] == sum(widths):
        parts = np.split(parts[0], np.cumsum(widths)[:-1], axis=1)
    actual = tuple(part.shape[1] for part in parts)
    if actual != widths:
        raise InputError(
            f"clip {clip_id} has features of widths {actual}, and the model reads {widths}: "
            "extract them as those that it was trained on"
        )
    return tuple(parts)


def _is_list_of_parts(features: Any) -> bool:
    """Checks whether a list begins with a part, and not with the numbers of a frame."""
    if not isinstance(features, list | tuple) or not features:
        return False
    first = _array(features[0])
    return first is not None and first.ndim == 2


def _array(value: Any) -> np.ndarray | None:
    """Returns an array, None for what cannot become one."""
    try:
        # The values of masked elements mean nothing, so they are refused as NaN is.
        array = value.filled(np.nan) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    except Exception:  # Arrays of other libraries raise errors of any class.
        return None
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def check_networks(metadata: DatasetMetadata, networks: Networks) -> None:
    """Warns if the networks of a dataset's features may not be those that a model reads.

    Raises:
      InputError: they are others.
    """
    difference = (
        f"dataset {metadata.name!r} has features of {in_words(metadata.features)}, and the model "
        f"was made for features of {in_words(networks)}"
    )
    agreement = compare(metadata.features, networks)
    if agreement is Agreement.OTHER:
        raise InputError(
            f"{difference}: extract them with the model's networks and build the dataset again"
        )
    if agreement is Agreement.UNCERTAIN:
        warnings.warn(f"{difference}; nothing is found if they are not the same", stacklevel=3)


def subtitle_lines(
    subtitles: Iterable[tuple[float, float, str]], clip_id: str
) -> tuple[RawSubtitle, ...]:
    """Returns the subtitles of a clip; raises InputError for one of another form."""
    name, kind = f"clip {clip_id}: subtitles", "(first second, last second, text)"
    lines = []
    for n, line in enumerate(several(subtitles, name, kind)):
        try:
            first, last, words = () if isinstance(line, str) else line
        except (TypeError, ValueError) as error:
            raise refusal(f"{name}[{n}]", line, kind) from error
        times = number(first, f"{name}[{n}][0]"), number(last, f"{name}[{n}][1]")
        lines.append(RawSubtitle(text(words, f"{name}[{n}][2]"), *times))
    return tuple(lines)


def readable_clips(clips: Iterable[Clip], width: int) -> Iterator[Clip]:
    """Yields clips; raises InputError for what `check_clip` does not allow."""
    for n, clip in enumerate(several(clips, "clips", "clips of `model.clip`")):
        check_clip(clip, width, f"clips[{n}]")
        yield clip


def check_clip(clip: Clip, width: int, name: str = "clip") -> None:
    """Raises InputError for what is no clip, or one of features that the model does not read.

    Args:
      width: of the features that it reads.
    """
    instance(clip, name, Clip, "`model.clip` makes it")
    actual = clip.frame_features.shape[1]
    if actual != width:
        raise InputError(
            f"clip {clip.clip_id} has features of width {actual}, and the model reads {width}: "
            "make it with this model"
        )


def check_query(query: RawQuery) -> None:
    """Raises InputError for what is no query, or has parts of other types."""
    instance(query, "query", RawQuery, "`data.schema` has it")
    text(query.text, "the query's text")
    texts(query.answers, "the query's answers")
    for moment in several(query.moments, "the query's moments", "(first second, last second)"):
        _pair(moment, "a moment of the query", "its first and last second")


def moment_within(moment: tuple[float, float], seconds: float) -> tuple[float, float]:
    """Returns a moment of a clip; raises InputError for one that does not begin in it.

    Args:
      moment: first and last second.
      seconds: length of the clip.
    """
    needed = f"its first and last second in a clip of {seconds:g} s"
    first, last = _pair(moment, "moment", needed)
    if not 0 <= first < seconds or last < first:
        raise refusal("moment", moment, needed)
    return first, last


def _pair(moment: tuple[float, float], name: str, needed: str) -> tuple[float, float]:
    try:
        first, last = moment
    except (TypeError, ValueError) as error:
        raise refusal(name, moment, needed) from error
    return number(first, f"{name}[0]"), number(last, f"{name}[1]")
