"""How much arithmetic the model asks for, and how much the devices can do."""

import time

import jax
import jax.numpy as jnp

# The gradient of a matrix product takes two more.
TRAINING_FACTOR = 3


def training_flops(config, counts: dict[str, int], task: str) -> float:
    """Floating point operations of an update that a perfect implementation needs.

    Matrix products over real tokens, frames and queries alone: padding, recomputation, softmax and
    the attention between slots (under 5% at 128 slots) do not count.

    Args:
      counts: of the batch, see `data.packing.COUNTS`.
      task: 'all' or the task trained.
    """
    model = config.model
    size, features = model.hidden_size, model.feature_size
    layer = 4 * size * size + 2 * size * model.intermediate_size
    frames, words = counts["frames"], counts["tokens"] - counts["segments"]

    cross = counts["filled_slots"] * model.cross_modal_layers * layer + frames * features * size
    temporal = frames * (features * size + model.temporal_layers * layer)
    queries = counts["filled_query_slots"] * (model.cross_modal_layers * layer + 5 * size * size)
    head = size * size + size * features
    masked = frames * config.mfm_nce.mask_probability
    # Each masked frame is compared with all frames of its group.
    candidates = frames / (config.batch.groups * config.batch.accumulation)
    products = {
        "mlm": cross
        + words * config.mlm.mask_probability * (size * size + size * model.vocab_size),
        "mfm_nce": cross + temporal + frames * head + masked * candidates * features,
        "mffr": cross + temporal + frames * head,
        "fom": cross + temporal + frames * 2 * size * (size + model.max_frames),
        "vsm": cross + temporal + queries,
    }
    chosen = [name for name in products if config.tasks[name]] if task == "all" else [task]
    return TRAINING_FACTOR * 2.0 * sum(products[name] for name in chosen)


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
