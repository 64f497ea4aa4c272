"""How much arithmetic the model asks for, and how much the devices can do."""

import time

import jax
import jax.numpy as jnp

# The gradient of a matrix product takes two more.
TRAINING_FACTOR = 3


def training_flops(part, counts: dict[str, int], task: str) -> float:
    """Floating point operations of an update that a perfect implementation needs.

    Matrix products over real tokens, frames and queries alone: padding, recomputation, softmax and
    the attention between slots (under 5% at 128 slots) do not count.

    Args:
      part: `hero_jax.experiment.task_group.TaskGroup` with the task.
      counts: of the batch, see `data.pipeline.packing.COUNTS`.
      task: 'all' or the task trained.
    """
    chosen = part.tasks.values() if task == "all" else [part.tasks[task]]
    products = sum(_products(part.config, counts, one) for one in chosen)
    return TRAINING_FACTOR * 2.0 * products


def _products(config, counts, task):
    """Multiplications of one pass forward."""
    model = config.model
    size, features = model.hidden_size, model.feature_size
    layer = 4 * size * size + 2 * size * model.intermediate_size
    frames, words = counts["frames"], counts["tokens"] - counts["segments"]
    texts = counts["filled_query_slots"]

    cross = counts["filled_slots"] * model.cross_modal_layers * layer + frames * features * size
    clips = cross + frames * (features * size + model.temporal_layers * layer)
    if task.layout == "choices":
        # Every frame in each version, and the texts after them.
        versions = counts["filled_slots"] - counts["tokens"]
        return clips + (versions - frames + texts) * model.temporal_layers * layer
    if task.layout == "captions":
        # A decoder's layer has another attention.
        decoder = texts * task.config.decoder_layers * (layer + 4 * size * size)
        return clips + decoder + texts * size * (size + model.vocab_size)
    queries = texts * (model.cross_modal_layers * layer + 5 * size * size)
    if task.layout == "retrieval":
        return clips + queries
    # Each masked frame is compared with all frames of its group.
    candidates = frames / (config.batch.groups * config.batch.accumulation)
    head = frames * (size * size + size * features)
    if task.block == "mlm":
        masked = words * task.config.mask_probability
        return cross + masked * (size * size + size * model.vocab_size)
    if task.block == "mfm_nce":
        return clips + head + frames * task.config.mask_probability * candidates * features
    if task.block == "mffr":
        return clips + head
    if task.block == "fom":
        return clips + frames * 2 * size * (size + model.max_frames)
    return clips + queries


def peak_flops(dtype: str) -> float:
    """Operations a second of this process's devices: what a large matrix product reaches on one."""
    size = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    best = min(_seconds(product, x) for _ in range(5))
    return 2.0 * size**3 / best * jax.local_device_count()


def _seconds(function, x):
    begun = time.perf_counter()
    function(x).block_until_ready()
    return time.perf_counter() - begun
