"""Frame order modelling: where a misplaced frame was."""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.models.ops import permute_entries
from hero_jax.tasks import masking
from hero_jax.tasks.base import Context, Loss, Task, TaskSettings, metric
from hero_jax.tasks.losses import cross_entropy, mean
from hero_jax.tasks.work import Work


@dataclasses.dataclass(frozen=True)
class FrameOrderModellingSettings(TaskSettings):
    """Settings of frame order modelling.

    Attributes:
      shuffle_probability: share of frames that are moved.
    """

    shuffle_probability: float = 0.15

    def __post_init__(self):
        self.require_share("shuffle_probability")


class FrameOrderModelling(Task):
    """Finds the positions that misplaced frames come from (FOM)."""

    Settings = FrameOrderModellingSettings
    temporal = True

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        order, targets = masking.shuffle_frames(
            batch, context.key, probability=self.settings.shuffle_probability
        )
        logits = order_logits(model, batch, order, context.dropout_key)
        sums = cross_entropy(logits, targets, targets >= 0)
        # A guess among the positions of the clip.
        chance = jnp.sum((targets >= 0) / jnp.maximum(batch["num_frames"], 1)[..., None])
        return mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
            "chance": metric(chance, sums["count"]),
        }

    def products(self, work: Work) -> float:
        return work.clips + work.frames * 2 * work.size * (work.size + work.config.model.max_frames)


def order_logits(
    model: HERO, batch: Batch, order: jax.Array, dropout_key: jax.Array | None
) -> jax.Array:
    """Returns logits `[G, C, F, max_frames]` after frame i went to position order[i]."""
    rows = model.encode_rows(batch, key=dropout_key)
    fused = model.fuse(batch, rows, key=dropout_key)
    frames, size = fused.shape[-2:]
    # Padding stays in place, so order is a permutation of all F positions.
    shuffled = permute_entries(
        fused.reshape(-1, frames, size),
        jnp.argsort(order, axis=-1).reshape(-1, frames),
        order.reshape(-1, frames),
    ).reshape(fused.shape)
    return model.order_head(model.contextualize(batch, shuffled, key=dropout_key))
