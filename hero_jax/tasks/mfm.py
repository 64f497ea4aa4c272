"""Masked frame modelling, by noise contrastive estimation or by regression."""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.models.batch import Batch, pick_in_frame_rows
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.tasks import masking
from hero_jax.tasks.base import Context, Loss, Task, TaskSettings, chunk_sizes, metric
from hero_jax.tasks.losses import Sums, cross_entropy, mean, sum_over_selected
from hero_jax.tasks.work import Work

# Share of the slots of frame rows that have a frame, in television's clips.
FRAMES = 0.95
# Sets of frames that a masked frame is told from.
CANDIDATES = ("group", "batch")


@dataclasses.dataclass(frozen=True)
class MaskedFrameRegressionSettings(TaskSettings):
    """Settings of masked frame regression.

    Attributes:
      mask_probability: share of frames that are hidden.
    """

    mask_probability: float = 0.15

    def __post_init__(self):
        self.require_share("mask_probability")


@dataclasses.dataclass(frozen=True)
class MaskedFrameModellingSettings(MaskedFrameRegressionSettings):
    """Settings of masked frame modelling.

    Attributes:
      candidates: 'group' tells a frame from those of its group of clips, 'batch' from those of the
        whole batch.
    """

    candidates: str = "group"

    def __post_init__(self):
        super().__post_init__()
        self.require("candidates", self.candidates in CANDIDATES, f"one of {', '.join(CANDIDATES)}")


class MaskedFrameModelling(Task):
    """Tells a hidden frame's features from those of the other frames around (MFM-NCE).

    The candidates are the true features of all masked frames and the predictions for all others, of
    a group of clips or of the whole batch.
    """

    Settings = MaskedFrameModellingSettings

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        masked = masking.mask_frames(batch, context.key, probability=self.settings.mask_probability)
        share = FRAMES * self.settings.mask_probability
        sums = contrast(model, batch, masked, self.settings.candidates, share, context.dropout_key)
        return mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
            "chance": metric(sums["chance"], sums["count"]),
        }

    def products(self, work: Work) -> float:
        batch = work.config.batch
        # Each masked frame is compared with all frames of its group.
        candidates = work.frames / (batch.groups * batch.accumulation)
        compared = candidates * work.frames * self.settings.mask_probability
        return work.clips + feature_head(work) + compared * work.config.model.feature_size


def feature_head(work: Work) -> float:
    """Returns the multiplications of predicting the features of all frames."""
    return work.frames * work.size * (work.size + work.config.model.feature_size)


def contrast(
    model: HERO,
    batch: Batch,
    masked: jax.Array,
    candidates: str,
    share: float,
    dropout_key: jax.Array | None,
) -> dict[str, jax.Array]:
    """Returns sums over masked frames `[G, C, F]` of the contrastive loss; see `cross_entropy`.

    Args:
      share: of the places for frames that are expected to be masked.
    """
    masked, valid = pick_in_frame_rows(masked, batch, False), batch["frame_place"] >= 0
    frames = model.encode_frames(batch, masked=masked, key=dropout_key)
    prediction = model.feature_head(frames)
    truth = batch["frame_features"].astype(prediction.dtype)
    pool = jnp.where(masked[..., None], truth, prediction)
    groups = {"group": valid.shape[0], "batch": 1}[candidates]
    prediction, pool = (x.reshape(groups, -1, x.shape[-1]) for x in (prediction, pool))
    masked, valid = masked.reshape(groups, -1), valid.reshape(groups, -1)
    chance = 1 / jnp.maximum(jnp.sum(valid, axis=-1, keepdims=True, dtype=jnp.float32), 1)

    def chunk(index: jax.Array, chosen: jax.Array) -> Sums:
        logits = jnp.einsum(
            "gkd,gmd->gkm",
            take_slots(prediction, index),
            pool,
            preferred_element_type=jnp.float32,
        )
        sums = cross_entropy(jnp.where(valid[:, None], logits, -1e9), index, chosen)
        return {**sums, "chance": jnp.sum(chance * chosen)}

    return sum_over_selected(chunk, masked, chunk_sizes(masked.shape[1], share))


class MaskedFrameRegression(Task):
    """Predicts hidden frames' features, by their Euclidean distance from the true ones (MFFR)."""

    Settings = MaskedFrameRegressionSettings

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        masked = masking.mask_frames(batch, context.key, probability=self.settings.mask_probability)
        total, count = regress(model, batch, masked, context.dropout_key)
        return mean(total, count), {"loss": metric(total, count)}

    def products(self, work: Work) -> float:
        return work.clips + feature_head(work)


def regress(
    model: HERO, batch: Batch, masked: jax.Array, dropout_key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the sum over masked frames `[G, C, F]` of the root squared error, and their count."""
    masked = pick_in_frame_rows(masked, batch, False)
    frames = model.encode_frames(batch, masked=masked, key=dropout_key)
    error = model.feature_head(frames).astype(jnp.float32) - batch["frame_features"]
    squared = jnp.sum(error * error, axis=-1)
    # Frames that are not masked must not reach the root: its gradient at zero is infinite.
    distance = jnp.sqrt(jnp.where(masked, squared, 1.0))
    return jnp.sum(distance, where=masked), jnp.sum(masked, dtype=jnp.float32)
