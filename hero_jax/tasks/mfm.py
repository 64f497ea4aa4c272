"""Masked frame modelling, by noise contrastive estimation or by regression."""

import dataclasses

import jax
import jax.numpy as jnp

from data.config import Config
from data.errors import InputError
from hero_jax.division import WHOLE, Shards
from hero_jax.models.batch import Batch, pick_in_frame_rows
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.tasks import masking
from hero_jax.tasks.base import Context, Loss, Task, TaskSettings, chunk_sizes, metric
from hero_jax.tasks.losses import Sums, cross_entropy, sum_over_selected
from hero_jax.tasks.work import Work

# Share of the slots of frame rows that have a frame, in television's clips.
FRAMES = 0.9
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
        whole batch; a number, as '32', from those of so many clips, a multiple of a group's.
    """

    candidates: str = "group"

    def __post_init__(self):
        super().__post_init__()
        known = self.candidates in CANDIDATES or _is_number(self.candidates)
        self.require("candidates", known, f"one of {', '.join(CANDIDATES)} or a number of clips")


class MaskedFrameModelling(Task):
    """Tells a hidden frame's features from those of the other frames around (MFM-NCE).

    The candidates are the true features of all masked frames and the predictions for all others, of
    a group of clips or of the whole batch.
    """

    Settings = MaskedFrameModellingSettings

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        masked = masking.mask_frames(batch, context.key, probability=self.settings.mask_probability)
        sums = contrast(
            model,
            batch,
            masked,
            self.settings.candidates,
            FRAMES * self.settings.mask_probability,
            context.dropout_key,
            context.shards,
        )
        return context.mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
            "chance": metric(sums["chance"], sums["count"]),
        }

    def check(self, batch: Config, shards: int) -> None:
        clips_of(self.settings.candidates, batch.groups, batch.clips_per_group, shards)

    def products(self, work: Work) -> float:
        batch = work.config.batch
        # Each masked frame is compared with all frames of its set.
        clips = clips_of(self.settings.candidates, batch.groups, batch.clips_per_group)
        sets = batch.groups * batch.clips_per_group / clips * batch.accumulation
        candidates = work.frames / sets
        compared = candidates * work.frames * self.settings.mask_probability
        return work.clips + feature_head(work) + compared * work.config.model.feature_size


def feature_head(work: Work) -> float:
    """Returns the multiplications of predicting the features of all frames."""
    return work.frames * work.size * (work.size + work.config.model.feature_size)


def clips_of(candidates: str, groups: int, clips_per_group: int, shards: int = 1) -> int:
    """Returns how many of a batch's places for clips are a set, whose frames are candidates.

    Args:
      candidates: the setting.
      groups, clips_per_group: of the batch.
      shards: number of devices that it is divided over.

    Raises:
      InputError: sets of so many clips do not lie evenly on groups and devices.
    """
    clips = groups * clips_per_group
    if not _is_number(candidates):
        return {"group": clips_per_group, "batch": clips}[candidates]

    def fits(number: int) -> bool:
        # Clips of a group share rows of frames, so a set has whole groups.
        on_shard = clips // shards
        on_shards = number % on_shard == 0 or on_shard % number == 0
        return clips % number == 0 and number % clips_per_group == 0 and on_shards

    if not fits(int(candidates)):
        near = filter(fits, sorted(range(1, clips + 1), key=lambda n: abs(n - int(candidates))))
        raise InputError(
            f"mfm_nce.candidates={candidates} clips do not lie evenly in batch.groups={groups} × "
            f"batch.clips_per_group={clips_per_group} clips on {shards} data shards: the nearest "
            f"number that does is {next(near)}"
        )
    return int(candidates)


def _is_number(candidates: str) -> bool:
    return candidates.isdecimal() and int(candidates) > 0


def contrast(
    model: HERO,
    batch: Batch,
    masked: jax.Array,
    candidates: str,
    share: float,
    dropout_key: jax.Array | None,
    shards: Shards = WHOLE,
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
    groups, clips_per_group = batch["num_frames"].shape
    clips = groups * clips_per_group
    in_set = clips_of(candidates, groups * shards.count, clips_per_group, shards.count)
    # A set lies on this shard or, if it is larger, on several neighbours.
    sets, shards = max(clips // in_set, 1), shards.sets(max(in_set // clips, 1))
    prediction, pool = (x.reshape(sets, -1, x.shape[-1]) for x in (prediction, pool))
    masked, valid = masked.reshape(sets, -1), valid.reshape(sets, -1)
    first = shards.place_in_set * masked.shape[1]
    pool, valid = (shards.gather(x.swapaxes(0, 1)).swapaxes(0, 1) for x in (pool, valid))
    chance = 1 / jnp.maximum(jnp.sum(valid, axis=-1, keepdims=True, dtype=jnp.float32), 1)

    def chunk(index: jax.Array, chosen: jax.Array) -> Sums:
        logits = jnp.einsum(
            "gkd,gmd->gkm",
            take_slots(prediction, index),
            pool,
            preferred_element_type=jnp.float32,
        )
        sums = cross_entropy(jnp.where(valid[:, None], logits, -1e9), first + index, chosen)
        return {**sums, "chance": jnp.sum(chance * chosen)}

    return sum_over_selected(chunk, masked, chunk_sizes(masked.shape[1], share))


class MaskedFrameRegression(Task):
    """Predicts hidden frames' features, by their Euclidean distance from the true ones (MFFR)."""

    Settings = MaskedFrameRegressionSettings

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        masked = masking.mask_frames(batch, context.key, probability=self.settings.mask_probability)
        total, count = regress(model, batch, masked, context.dropout_key)
        return context.mean(total, count), {"loss": metric(total, count)}

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
