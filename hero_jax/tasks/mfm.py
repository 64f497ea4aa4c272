"""Masked frame modelling, by noise contrastive estimation or by regression."""

import jax.numpy as jnp

from hero_jax.models.batch import frame_mask
from hero_jax.models.ops import take_slots
from hero_jax.tasks import masking
from hero_jax.tasks.base import Task, chunk_size, metric
from hero_jax.tasks.losses import cross_entropy, mean, sum_over_selected


class MaskedFrameModelling(Task):
    """Tells a hidden frame's features from those of the other frames around (MFM-NCE).

    The candidates are the true features of all masked frames and the predictions for all others, of
    a group of clips or of the whole batch.

    config: `mask_probability`; `candidates`, 'group' or 'batch'.
    """

    def loss(self, model, batch, context):
        masked = masking.mask_frames(batch, context.key, probability=self.config.mask_probability)
        sums = contrast(model, batch, masked, self.config.candidates, context.dropout_key)
        return mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
            "chance": metric(sums["chance"], sums["count"]),
        }


def contrast(model, batch, masked, candidates, dropout_key):
    """Sums over masked frames `[G, C, F]` of the contrastive loss; see `cross_entropy`."""
    frames = model.encode_clips(batch, masked=masked, key=dropout_key)
    prediction = model.feature_head(frames)
    truth = batch["frame_features"].astype(prediction.dtype)
    pool = jnp.where(masked[..., None], truth, prediction)
    valid = frame_mask(batch)
    groups = {"group": valid.shape[0], "batch": 1}[candidates]
    prediction, pool = (x.reshape(groups, -1, x.shape[-1]) for x in (prediction, pool))
    masked, valid = masked.reshape(groups, -1), valid.reshape(groups, -1)
    chance = 1 / jnp.maximum(jnp.sum(valid, axis=-1, keepdims=True, dtype=jnp.float32), 1)

    def chunk(index, chosen):
        logits = jnp.einsum(
            "gkd,gmd->gkm",
            take_slots(prediction, index),
            pool,
            preferred_element_type=jnp.float32,
        )
        sums = cross_entropy(jnp.where(valid[:, None], logits, -1e9), index, chosen)
        return {**sums, "chance": jnp.sum(chance * chosen)}

    return sum_over_selected(chunk, masked, chunk_size(masked.shape[1]))


class MaskedFrameRegression(Task):
    """The Euclidean distance of predicted and true features of hidden frames (MFFR).

    config: `mask_probability`.
    """

    def loss(self, model, batch, context):
        masked = masking.mask_frames(batch, context.key, probability=self.config.mask_probability)
        total, count = regress(model, batch, masked, context.dropout_key)
        return mean(total, count), {"loss": metric(total, count)}


def regress(model, batch, masked, dropout_key):
    """Sum over masked frames `[G, C, F]` of the root of the summed squared error, and count."""
    frames = model.encode_clips(batch, masked=masked, key=dropout_key)
    error = model.feature_head(frames).astype(jnp.float32) - batch["frame_features"]
    squared = jnp.sum(error * error, axis=-1)
    # Frames that are not masked must not reach the root: its gradient at zero is infinite.
    distance = jnp.sqrt(jnp.where(masked, squared, 1.0))
    return jnp.sum(distance, where=masked), jnp.sum(masked, dtype=jnp.float32)
