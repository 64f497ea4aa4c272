"""Times and moments in seconds."""

import numpy as np


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Formats a time as m:ss, from an hour on as h:mm:ss, rounded down as players do.

    Args:
      seconds: may be negative only with tenths.
      tenths: m:ss.s instead, rounded to the nearest; hours are minutes.
    """
    if tenths:
        minutes, rest = divmod(round(abs(seconds) * 10), 600)
        return f"{'-' if seconds < 0 else ''}{minutes}:{rest / 10:04.1f}"
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def temporal_iou(first, second, xp=np):
    """Intersection over union of moments `[..., 2]` (start, end); 0 where one is NaN.

    The union reaches from the earlier start to the later end, as in the original's evaluation:
    moments that are apart have an IoU of 0 all the same.

    Args:
      xp: `numpy` or `jax.numpy`, whose arrays the moments are.
    """
    shared = xp.minimum(first[..., 1], second[..., 1]) - xp.maximum(first[..., 0], second[..., 0])
    union = xp.maximum(first[..., 1], second[..., 1]) - xp.minimum(first[..., 0], second[..., 0])
    # Comparisons with NaN are False.
    return xp.where(shared > 0, shared, 0) / xp.where(union > 0, union, 1)
