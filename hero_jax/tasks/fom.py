"""Frame order modelling: where a misplaced frame was."""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.models.batch import Batch, pick_in_frame_rows
from hero_jax.models.hero import HERO
from hero_jax.models.ops import permute_entries
from hero_jax.tasks import masking
from hero_jax.tasks.base import Context, Loss, Task, TaskSettings, metric
from hero_jax.tasks.losses import cross_entropy
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
        in_rows = pick_in_frame_rows(targets, batch, -1)
        sums = cross_entropy(logits, in_rows, in_rows >= 0)
        # A guess among the positions of the clip.
        chance = jnp.sum((targets >= 0) / jnp.maximum(batch["num_frames"], 1)[..., None])
        return context.mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
            "chance": metric(chance, sums["count"]),
        }

    def products(self, work: Work) -> float:
        return work.clips + work.frames * 2 * work.size * (work.size + work.config.model.max_frames)


def order_logits(
    model: HERO, batch: Batch, order: jax.Array, dropout_key: jax.Array | None
) -> jax.Array:
    """Returns logits of frame rows `[G, P, L, max_frames]` after frames have moved.

    Args:
      order: `[G, C, F]`: frame i of a clip goes to position order[i].
    """
    rows = model.encode_rows(batch, key=dropout_key)
    fused = model.fuse(batch, rows, key=dropout_key)
    groups, size = fused.shape[0], fused.shape[-1]

    def slots_of(places: jax.Array) -> jax.Array:
        """Returns for every slot that of another frame of its clip, `[G, P·L]`."""
        slots = jnp.take_along_axis(batch["clip_slot"], places, axis=-1)
        return pick_in_frame_rows(slots, batch, -1).reshape(groups, -1)

    # Padding stays in place, so order is a permutation of all F positions.
    shuffled = permute_entries(
        fused.reshape(groups, -1, size), slots_of(jnp.argsort(order, axis=-1)), slots_of(order)
    ).reshape(fused.shape)
    return model.order_head(model.contextualize(batch, shuffled, key=dropout_key))
