"""Ranking of moments in a query's clips, and suppression of those that overlap better ones.

The score of a moment from frame s to e of a clip is that of the original (HERO, Li et al., EMNLP
2020, in its evaluation of TVR): `exp(temperature · clip score) · p_start[s] · p_end[e]`, with
probabilities over the frames of the clip. Only spans of an allowed width are computed. Equal scores
are in the order of clips, then of spans.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from data.errors import InputError
from data.times import temporal_iou
from hero_jax.models.heads import OUTSIDE
from hero_jax.retrieval.results import Array, Moments

# exp of more overflows float32.
LARGEST_TEMPERATURE = 88.0


@dataclasses.dataclass(frozen=True)
class RankingSettings:
    """Settings of the ranking of moments; the defaults are those published for TVR.

    top_clips: number of clips in which moments are ranked.
    temperature: factor of clip scores, see the formula above.
    min_span, max_span: a span from frame s to e is allowed if `min_span <= e - s < max_span`.
    max_predictions: number of moments of a query before suppression.
    nms_candidates: number of a query's best moments that suppression sees. The original is set to
      200, but cuts its lists to 100 before, so that the published results are of 100.
    nms_iou: a moment is suppressed if its overlap with a better one of the same clip is larger; 0
      turns suppression off.
    max_after_nms: number of moments of a query after suppression.
    """

    top_clips: int = 100
    temperature: float = 20.0
    min_span: int = 2
    max_span: int = 16
    max_predictions: int = 200
    nms_candidates: int = 100
    nms_iou: float = 0.0
    max_after_nms: int = 100

    def __post_init__(self) -> None:
        for name in ("top_clips", "max_predictions", "nms_candidates", "max_after_nms"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} is too small: set 1 or more")
        if not 0 <= self.min_span < self.max_span:
            raise InputError(
                f"min_span={self.min_span} and max_span={self.max_span} allow no span: set "
                "0 <= min_span < max_span, in frames"
            )
        if not 0 <= self.nms_iou <= 1:
            raise InputError(
                f"nms_iou={self.nms_iou} is out of range: set a value from 0 (no suppression) to 1"
            )
        if not 0 <= self.temperature <= LARGEST_TEMPERATURE:
            raise InputError(
                f"temperature={self.temperature} is out of range: set a value from 0 to "
                f"{LARGEST_TEMPERATURE:g}"
            )


def rank_moments(
    clip_scores: Array,
    start_logits: Array,
    end_logits: Array,
    num_frames: Array,
    settings: RankingSettings,
    clips: Array | None = None,
) -> Moments:
    """Returns the best spans in clips, at most `settings.max_predictions` for each query.

    Args:
      clip_scores: `[N, V]`; 0 takes the clip's score out of the product.
      start_logits, end_logits: `[N, V, F]`; values beyond a clip's frames are ignored.
      num_frames: `[N, V]`.
      clips: `[N, V]`, numbers of the clips; None for 0..V-1.

    Returns:
      `Moments`. A query with fewer allowed spans has a shorter list; the original pads it with
      spans that are not allowed, with score 0.
    """
    num_queries, num_clips, frames = start_logits.shape
    valid = jnp.arange(frames) < num_frames[..., None]
    start, end = (
        jax.nn.softmax(jnp.where(valid, logits, OUTSIDE)) for logits in (start_logits, end_logits)
    )
    start = start * jnp.exp(settings.temperature * clip_scores)[..., None]
    # [N, V, F, widths]: the order of this is the order of (clip, start, end).
    widths = np.arange(
        settings.min_span, max(min(settings.max_span, frames), settings.min_span + 1)
    )
    ends = jnp.pad(end, [(0, 0), (0, 0), (0, int(widths[-1]))])
    ends = jnp.stack([ends[..., width : width + frames] for width in widths], axis=-1)
    allowed = np.arange(frames)[:, None] + widths < num_frames[..., None, None]
    scores = jnp.where(allowed, start[..., None] * ends, -1.0).reshape(num_queries, -1)
    missing = max(settings.max_predictions - scores.shape[1], 0)
    scores = jnp.pad(scores, [(0, 0), (0, missing)], constant_values=-1.0)
    scores, index = jax.lax.top_k(scores, settings.max_predictions)
    index = jnp.minimum(index, num_clips * frames * len(widths) - 1)
    rank, first, width = jnp.unravel_index(index, (num_clips, frames, len(widths)))
    clips = rank if clips is None else jnp.take_along_axis(clips, rank, axis=1)
    spans = jnp.stack([first, first + width + settings.min_span], axis=-1)
    return _mask(Moments(clips, spans, scores), scores >= 0)


def suppress(moments: Moments, settings: RankingSettings) -> Moments:
    """Applies greedy non-maximum suppression to the best moments of each query.

    It sees the first `settings.nms_candidates`; the others are left out. A moment is kept unless
    its intersection over union with a better kept one of the same clip is more than
    `settings.nms_iou`. At most `settings.max_after_nms` are kept.
    """
    clips, spans, scores = (jnp.asarray(x)[:, : settings.nms_candidates] for x in moments)
    frames = spans + jnp.array([0, 1])
    overlaps = temporal_iou(frames[:, :, None], frames[:, None], jnp) > settings.nms_iou
    overlaps &= clips[:, :, None] == clips[:, None]
    places = jnp.arange(frames.shape[1])

    def decide(place, kept):
        better = kept & (places < place)
        hidden = jnp.any(better & overlaps[:, place], axis=1)
        return kept.at[:, place].set(kept[:, place] & ~hidden)

    kept = jax.lax.fori_loop(0, len(places), decide, clips >= 0)
    order = jnp.argsort(~kept, axis=1, stable=True)[:, : settings.max_after_nms]
    kept_first = Moments(
        jnp.take_along_axis(clips, order, axis=1),
        jnp.take_along_axis(spans, order[..., None], axis=1),
        jnp.take_along_axis(scores, order, axis=1),
    )
    return _mask(kept_first, jnp.take_along_axis(kept, order, axis=1))


def _mask(moments: Moments, valid: Array) -> Moments:
    """Replaces moments that are not valid by the values that stand for no prediction."""
    return Moments(
        jnp.where(valid, moments.clips, -1),
        jnp.where(valid[..., None], moments.spans, 0),
        jnp.where(valid, moments.scores, 0),
    )
