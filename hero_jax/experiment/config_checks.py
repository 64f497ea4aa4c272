"""What the values of a config have to be, whatever the data and the devices are."""

import math
import operator

from data.errors import InputError
from hero_jax.experiment.layouts import LAYOUTS


def check_batch(config, task=None) -> None:
    """InputError if the batch's limits exceed the model's tables.

    Args:
      task: the downstream task, None in pre-training.
    """
    name, block = ("clips", "") if task is None else (task.layout, task.block)
    for what, value, field in LAYOUTS[name].limits(config, block):
        most = operator.attrgetter(field)(config)
        if value > most:
            raise InputError(
                f"config.{what} is {value}, more than config.{field}={most}; lower the one or "
                "raise the other."
                if what.startswith("batch")
                else f"{what.capitalize()} has {value} tokens, more than config.{field}={most}; "
                "lower config.batch.max_tokens, max_query_tokens or max_clip_tokens, or raise it."
            )


def check_encoder(config) -> None:
    """InputError if clips are not cut into segments as the encoder needs it."""
    encoder, segmentation = config.model.encoder, config.batch.segmentation
    if (encoder == "flat") != (segmentation == "clip"):
        raise InputError(
            f"config.model.encoder={encoder!r} does not go with config.batch.segmentation="
            f"{segmentation!r}: 'flat' needs 'clip', the others do without."
        )


CHOICES = {
    "objective": ("one_task", "weighted_sum"),
    "model.encoder": ("hierarchical", "text_only", "flat"),
    "model.dtype": ("float32", "bfloat16"),
    "batch.segmentation": ("subtitle", "clip", "frames"),
    "mfm_nce.candidates": ("group", "batch"),
    "vsm.ranking": ("hinge", "lse"),
    "moment_retrieval.ranking": ("hinge", "lse"),
    "video_retrieval.ranking": ("hinge", "lse"),
    "captioning.decoding": ("greedy", "beam", "sample"),
}
AT_LEAST_1 = """
    batch.groups batch.clips_per_group batch.accumulation batch.row_length batch.max_frames
    batch.max_tokens batch.max_query_tokens batch.choices batch.max_waiting model.hidden_size
    model.intermediate_size model.num_heads
    optimizer.steps log_every eval_every save_every keep_checkpoints
"""
AT_LEAST_0 = """
    seed batch.rows_per_group batch.query_rows_per_group batch.queries_per_clip
    batch.context_subtitles batch.max_clip_tokens model.cross_modal_layers model.temporal_layers
    optimizer.learning_rate optimizer.warmup_steps optimizer.max_gradient_norm vsm.hard_pool
    profile_steps
"""
SHARES = """
    mlm.mask_probability mfm_nce.mask_probability mffr.mask_probability fom.shuffle_probability
    vsm.span_drop_probability
"""
DROPOUTS = "model.dropout model.attention_dropout"
# Of the data's identity what a person may let differ.
ACCEPTABLE = ("feature_widths", "seconds_per_feature", "tokenizer")
LIMITS = (
    ("1 or more", lambda x: x >= 1, AT_LEAST_1),
    ("0 or more", lambda x: x >= 0, AT_LEAST_0),
    ("from 0 to 1", lambda x: 0 <= x <= 1, SHARES),
    ("at least 0 and below 1", lambda x: 0 <= x < 1, DROPOUTS),
    (
        "two numbers, as (0.9, 0.98)",
        lambda x: len(x) == 2 and all(map(_decay, x)),
        "optimizer.betas",
    ),
)


def check(config) -> None:
    """InputError if a value makes no sense."""
    for field, choices in CHOICES.items():
        if not _has(config, field):
            continue
        value = operator.attrgetter(field)(config)
        if value not in choices:
            raise InputError(f"config.{field}={value!r} is not known: {', '.join(choices)} are.")
    for wanted, good, fields in LIMITS:
        for field in filter(lambda field: _has(config, field), fields.split()):
            value = operator.attrgetter(field)(config)
            if not good(value):
                raise InputError(f"config.{field}={value} has to be {wanted}.")
    size, heads = config.model.hidden_size, config.model.num_heads
    if size % heads:
        raise InputError(
            f"config.model.hidden_size={size} does not divide over config.model.num_heads={heads}; "
            "make it a multiple."
        )
    _check_sources(config)
    for name in accepted_mismatches(config):
        if name not in ACCEPTABLE:
            raise InputError(
                f"config.data.accept_mismatch={config.data.accept_mismatch!r} names {name!r}: "
                f"choose of {', '.join(ACCEPTABLE)}, with commas between."
            )


def _has(config, field):
    """Whether the config has the block of a field; downstream ones have their own task's alone."""
    return field.partition(".")[0] in config


def source_names(config) -> list[str]:
    """The datasets that a config names."""
    return [name.strip() for name in config.data.name.split(",")]


def accepted_mismatches(config) -> set[str]:
    """In what data may differ from what was expected."""
    return {name.strip() for name in config.data.accept_mismatch.split(",")} - {""}


def _check_sources(config):
    data, names, weights = config.data, source_names(config), config.data.weights
    if "" in names or len(set(names)) < len(names):
        raise InputError(
            f"config.data.name={data.name!r} has to name datasets with commas between, each once."
        )
    if weights and len(weights) != len(names):
        raise InputError(
            f"config.data.weights={weights} does not have a number for each of the {len(names)} "
            f"datasets of config.data.name={data.name!r}: give as many, or () to go by their clips."
        )
    if weights and not (all(map(_weight, weights)) and sum(weights) > 0):
        raise InputError(
            f"config.data.weights={weights} has to be numbers of 0 or more and not all 0, as "
            "0.7,0.3, or () to go by the datasets' clips."
        )


def _weight(value):
    return isinstance(value, float | int) and math.isfinite(value) and value >= 0


def _decay(value):
    return isinstance(value, float | int) and 0 <= value < 1
