"""Checks of a config that need neither data nor devices.

Settings of tasks check themselves; see `hero_jax.tasks.base.TaskSettings`.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

from data.config import Config
from data.errors import InputError
from data.pipeline.layout import Layout

CHOICES = {
    "objective": ("one_task", "weighted_sum"),
    "model.encoder": ("hierarchical", "text_only", "flat"),
    "model.channels": ("both", "video", "subtitle"),
    "model.fusion": ("cross_modal", "sequence", "add", "concat"),
    "model.dtype": ("float32", "bfloat16"),
    "batch.segmentation": ("subtitle", "clip", "frames"),
    "mesh.shard_optimizer": (False, True),
    "on_damaged_checkpoint": ("error", "previous"),
}
AT_LEAST_1 = """
    batch.groups batch.clips_per_group batch.accumulation batch.row_length batch.max_frames
    batch.max_tokens batch.max_query_tokens batch.choices batch.max_waiting model.hidden_size
    model.intermediate_size model.num_heads
    optimizer.steps log_every eval_every save_every keep_checkpoints
"""
AT_LEAST_0 = """
    seed batch.rows_per_group batch.query_rows_per_group batch.queries_per_clip
    batch.frame_rows_per_group batch.frame_row_length
    batch.context_subtitles batch.max_subtitles batch.max_clip_tokens
    model.cross_modal_layers model.temporal_layers
    optimizer.learning_rate optimizer.warmup_steps optimizer.max_gradient_norm profile_steps
"""
# The segmentation of a clip that is read by one channel.
SEGMENTATIONS = {"video": "frames", "subtitle": "subtitle_cls"}
DROPOUTS = "model.dropout model.attention_dropout"
# Fields of the data's identity that users may allow to differ.
ACCEPTABLE = ("feature_widths", "seconds_per_feature", "tokenizer", "features")


def _is_decay(value: Any) -> bool:
    return isinstance(value, float | int) and 0 <= value < 1


LIMITS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("1 or more", lambda x: x >= 1, AT_LEAST_1),
    ("0 or more", lambda x: x >= 0, AT_LEAST_0),
    ("at least 0 and below 1", lambda x: 0 <= x < 1, DROPOUTS),
    (
        "two numbers, as (0.9, 0.98)",
        lambda x: len(x) == 2 and all(map(_is_decay, x)),
        "optimizer.betas",
    ),
)


def check(config: Config) -> None:
    """Checks each value of an experiment or a task group.

    Raises:
      InputError: a value is out of range; the sentence names its field.
    """
    for field, choices in CHOICES.items():
        value = operator.attrgetter(field)(config)
        if value not in choices:
            raise InputError(f"{field}={value!r} has to be one of {', '.join(map(str, choices))}")
    for requirement, good, fields in LIMITS:
        for field in fields.split():
            value = operator.attrgetter(field)(config)
            if not good(value):
                raise InputError(f"{field}={value} has to be {requirement}")
    size, heads = config.model.hidden_size, config.model.num_heads
    if size % heads:
        raise InputError(
            f"model.hidden_size={size} has to be a multiple of model.num_heads={heads}"
        )
    _check_sources(config)
    for name in accepted_mismatches(config):
        if name not in ACCEPTABLE:
            raise InputError(
                f"data.accept_mismatch={config.data.accept_mismatch!r} names {name!r}: choose of "
                f"{', '.join(ACCEPTABLE)}, with commas between"
            )


def source_names(config: Config) -> list[str]:
    """Returns the names of a config's datasets."""
    return [name.strip() for name in config.data.name.split(",")]


def accepted_mismatches(config: Config) -> set[str]:
    """Returns the fields of the data's identity in which data may differ from what is expected."""
    return {name.strip() for name in config.data.accept_mismatch.split(",")} - {""}


def _check_sources(config: Config) -> None:
    data, names, weights = config.data, source_names(config), config.data.weights
    if "" in names or len(set(names)) < len(names):
        raise InputError(
            f"data.name={data.name!r} has to name datasets with commas between, each once"
        )
    if weights and len(weights) != len(names):
        raise InputError(
            f"data.weights={weights} does not have a number for each of the {len(names)} datasets "
            f"of data.name={data.name!r}: give as many, or () to weigh them by their clips"
        )
    if weights and not (all(map(_is_weight, weights)) and sum(weights) > 0):
        raise InputError(
            f"data.weights={weights} has to be numbers of 0 or more and not all 0, as 0.7,0.3, or "
            "() to weigh datasets by their clips"
        )


def _is_weight(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value) and value >= 0


def check_batch(config: Config, layout: type[Layout], block: str) -> None:
    """Checks that the batch's limits fit the model's tables.

    Args:
      layout: of the batches that are trained on.
      block: name of the settings of the task that reads them, '' in pre-training.

    Raises:
      InputError: a limit exceeds a table; the sentence names both fields.
    """
    for what, value, field in layout.limits(config, block):
        most = operator.attrgetter(field)(config)
        if value > most:
            raise InputError(
                f"{what} is {value}, more than {field}={most}: lower the one or raise the other"
                if what.startswith("batch")
                else f"{what} has {value} tokens, more than {field}={most}: lower "
                "batch.max_tokens, max_query_tokens or max_clip_tokens, or raise it"
            )


def settle_segments(config: Config) -> None:
    """Changes `batch` to the segments that channels and fusion need, and checks the encoder.

    Raises:
      InputError: encoder, channels, fusion and segmentation do not go together.
    """
    encoder, channels, fusion = (config.model[x] for x in ("encoder", "channels", "fusion"))
    for field, value, usual in (
        ("model.channels", channels, "both"),
        ("model.fusion", fusion, "cross_modal"),
    ):
        if value != usual and encoder != "hierarchical":
            raise InputError(
                f"model.encoder={encoder!r} does not go with {field}={value!r}: set it to "
                f"{usual!r}, or model.encoder to 'hierarchical'"
            )
    if channels == "subtitle" and fusion != "cross_modal":
        raise InputError(
            f"model.fusion={fusion!r} does not go with model.channels='subtitle', which VALUE has "
            "for 'cross_modal' alone: set model.fusion to that"
        )
    _settle_subtitles(config)
    segmentation = config.batch.segmentation
    if channels != "both" and segmentation not in ("subtitle", SEGMENTATIONS[channels]):
        raise InputError(
            f"batch.segmentation={segmentation!r} does not go with model.channels={channels!r}: "
            "set it to 'subtitle'"
        )
    config.batch.segmentation = segmentation = SEGMENTATIONS.get(channels, segmentation)
    if (encoder == "flat") != (segmentation == "clip"):
        raise InputError(
            f"model.encoder={encoder!r} does not go with batch.segmentation={segmentation!r}: "
            "'flat' needs 'clip', the other encoders need another"
        )


def _settle_subtitles(config: Config) -> None:
    batch = config.batch
    if config.model.fusion == "sequence":
        batch.max_subtitles = batch.max_subtitles or batch.max_frames
    elif batch.max_subtitles:
        raise InputError(
            f"batch.max_subtitles={batch.max_subtitles} is for model.fusion='sequence', and "
            f"model.fusion is {config.model.fusion!r}: set it to 0"
        )
