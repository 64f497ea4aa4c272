"""Times and moments in seconds."""

from typing import Any

import numpy as np


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Formats a time as m:ss, or h:mm:ss from one hour on, rounded down as video players do.

    Args:
      seconds: 0 or more; with `tenths` also negative.
      tenths: formats as m:ss.s instead, rounded to the nearest; an hour is 60 minutes.
    """
    if tenths:
        minutes, remainder = divmod(round(abs(seconds) * 10), 600)
        return f"{'-' if seconds < 0 else ''}{minutes}:{remainder / 10:04.1f}"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def temporal_iou(first: Any, second: Any, xp: Any = np) -> Any:
    """Intersection over union of moments, 0 where a moment is NaN.

    The union lasts from the earlier start to the later end, as in the original's evaluation. For
    moments that do not overlap this is no union, but their IoU is 0 in any case.

    Args:
      first, second: `[..., 2]` start and end, arrays of `xp`.
      xp: `numpy` or `jax.numpy`.

    Returns:
      `[...]`, an array of `xp`.
    """
    shared = xp.minimum(first[..., 1], second[..., 1]) - xp.maximum(first[..., 0], second[..., 0])
    union = xp.maximum(first[..., 1], second[..., 1]) - xp.minimum(first[..., 0], second[..., 0])
    # Comparisons with NaN are False.
    return xp.where(shared > 0, shared, 0) / xp.where(union > 0, union, 1)
