"""The best moments in a query's clips, and suppression of those that overlap better ones.

The score of a moment from frame s to e of a clip is the original's (HERO, Li et al., EMNLP 2020, in
its evaluation of TVR): `exp(temperature · clip score) · p_start[s] · p_end[e]`, probabilities over
the frames of the clip. Only spans of a width that is allowed are computed. Equal scores are in the
order of clips, then of spans.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from data.errors import InputError
from data.times import temporal_iou
from hero_jax.models.heads import OUTSIDE
from hero_jax.retrieval.results import Moments

# exp of more is no float32.
LARGEST_TEMPERATURE = 88.0


@dataclasses.dataclass(frozen=True)
class RankingSettings:
    """How moments are ranked; the defaults are those published for TVR.

    top_clips: clips to look for moments in.
    temperature: of clip scores.
    min_span, max_span: a span from frame s to e is allowed if `min_span <= e - s < max_span`.
    max_predictions: moments of a query before suppression.
    nms_iou: a moment that overlaps a better one of the same clip by more is suppressed; 0: none is.
    max_after_nms: moments of a query after it.
    """

    top_clips: int = 100
    temperature: float = 20.0
    min_span: int = 2
    max_span: int = 16
    max_predictions: int = 200
    nms_iou: float = 0.0
    max_after_nms: int = 100

    def __post_init__(self):
        for name in ("top_clips", "max_predictions", "max_after_nms"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} has to be 1 or more.")
        if not 0 <= self.min_span < self.max_span:
            raise InputError(
                f"min_span={self.min_span} and max_span={self.max_span} allow no span: they have "
                "to be 0 <= min_span < max_span, in frames."
            )
        if not 0 <= self.nms_iou <= 1:
            raise InputError(f"nms_iou={self.nms_iou} has to be from 0 (no suppression) to 1.")
        if not 0 <= self.temperature <= LARGEST_TEMPERATURE:
            raise InputError(
                f"temperature={self.temperature} has to be from 0 to {LARGEST_TEMPERATURE:g}."
            )


def rank_moments(clip_scores, start_logits, end_logits, num_frames, settings, clips=None):
    """The best spans in clips, `settings.max_predictions` for each query.

    Args:
      clip_scores: `[N, V]`; 0 leaves the clip's score out.
      start_logits, end_logits: `[N, V, F]`, whatever beyond the clips' frames.
      num_frames: `[N, V]`.
      clips: `[N, V]`, the clips' numbers; their ranks 0..V-1 where None.

    Returns:
      `Moments`. Where there are fewer allowed spans, the list is shorter: the original fills it up
      with spans that are not allowed, of score 0.
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
    """Non-maximum suppression: keeps a moment unless a better one that is kept overlaps it.

    Overlap is `settings.nms_iou` or less between moments of one clip, intersection over what both
    span. At most `settings.max_after_nms` are kept.
    """
    frames = moments.spans + jnp.array([0, 1])
    overlaps = temporal_iou(frames[:, :, None], frames[:, None], jnp) > settings.nms_iou
    overlaps &= moments.clips[:, :, None] == moments.clips[:, None]
    places = jnp.arange(frames.shape[1])

    def decide(place, kept):
        better = kept & (places < place)
        hidden = jnp.any(better & overlaps[:, place], axis=1)
        return kept.at[:, place].set(kept[:, place] & ~hidden)

    kept = jax.lax.fori_loop(0, len(places), decide, moments.clips >= 0)
    order = jnp.argsort(~kept, axis=1, stable=True)[:, : settings.max_after_nms]
    chosen = [
        jnp.take_along_axis(moments.clips, order, axis=1),
        jnp.take_along_axis(moments.spans, order[..., None], axis=1),
        jnp.take_along_axis(moments.scores, order, axis=1),
    ]
    return _mask(Moments(*chosen), jnp.take_along_axis(kept, order, axis=1))


def _mask(moments, valid):
    """Moments where valid, and elsewhere what stands for none."""
    return Moments(
        jnp.where(valid, moments.clips, -1),
        jnp.where(valid[..., None], moments.spans, 0),
        jnp.where(valid, moments.scores, 0),
    )
