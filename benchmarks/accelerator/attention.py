"""Self-attention within segments, forward and backward: ours beside other implementations.

    python -m benchmarks.accelerator.attention [--rows=54] [--dtype=bfloat16]

Times a layer of attention at full size on packed rows, `[rows, 128, 768]` with segments of 16
slots, and prints how far outputs and gradients of inputs are from ours in float32, relative to the
largest. Ours alone has dropout on the weights. An implementation that the device lacks is left out,
with the reason.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.pallas.ops.gpu.attention import mha
from jax.experimental.pallas.ops.tpu.flash_attention import SegmentIds, flash_attention

from configs import pretrain
from data.config import Config
from hero_jax.models.batch import same_segment
from hero_jax.models.layers import Attention

LENGTH, SEGMENT = 128, 16
REPEATS = 10
# Attention of queries, keys and values `[rows, T, heads, size]` and segments `[rows, T]`.
Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def pallas_gpu(
    query: jax.Array, keys: jax.Array, values: jax.Array, segments: jax.Array
) -> jax.Array:
    """Attention of JAX's Triton kernel."""
    return mha(query, keys, values, segments, sm_scale=query.shape[-1] ** -0.5)


def pallas_tpu(
    query: jax.Array, keys: jax.Array, values: jax.Array, segments: jax.Array
) -> jax.Array:
    """Attention of JAX's TPU kernel."""
    heads_first = (jnp.swapaxes(x, 1, 2) for x in (query, keys, values))
    scale = query.shape[-1] ** -0.5
    y = flash_attention(*heads_first, segment_ids=SegmentIds(segments, segments), sm_scale=scale)
    return jnp.swapaxes(y, 1, 2)


def standard(implementation: str) -> Attend:
    """Returns JAX's function by one of its implementations."""

    def attend(query, keys, values, segments):
        mask = same_segment(segments)[:, None]
        return jax.nn.dot_product_attention(
            query, keys, values, mask=mask, implementation=implementation
        )

    return attend


def make_layer(
    config: Config, attend: Attend | None, dropout: bool = False
) -> Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array, Any]]:
    """Returns a function of parameters, inputs, segments and key.

    It returns outputs, the gradient of the inputs and those of the parameters.

    Args:
      attend: what to have between the projections, None for ours.
      dropout: whether ours has it.
    """
    graphdef = nnx.split(nnx.eval_shape(lambda: Attention(config, rngs=nnx.Rngs(0))))[0]

    def outputs(params, x, segments, key):
        layer = nnx.merge(graphdef, params)
        if attend is None:
            return layer(x, same_segment(segments), key if dropout else None)
        heads = (*x.shape[:-1], config.num_heads, -1)
        parts = (part(x).reshape(heads) for part in (layer.query, layer.key, layer.value))
        return layer.out(attend(*parts, segments).reshape(x.shape))

    def loss(params, x, segments, key):
        y = outputs(params, x, segments, key)
        return jnp.sum(jnp.sin(y.astype(jnp.float32))), y

    gradient = jax.grad(loss, argnums=(1, 0), has_aux=True)

    @jax.jit
    def layer(params, x, segments, key):
        gradients, y = gradient(params, x, segments, key)
        return y, *gradients

    return layer


def median_seconds(function: Callable, *arguments: Any) -> float:
    """Returns the median seconds of a call, after one that compiles."""
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - begun)
    return sorted(times[1:])[REPEATS // 2]


def distance(found: Any, wanted: Any) -> float:
    """Returns the largest difference of two trees' arrays, relative to the array's largest."""

    def of(x, y):
        x, y = x.astype(jnp.float32), y.astype(jnp.float32)
        return jnp.max(jnp.abs(x - y)) / jnp.max(jnp.abs(y))

    return float(max(jax.tree.leaves(jax.tree.map(of, found, wanted))))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator.attention", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=54, help="default: %(default)s, for 32 clips")
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args(arguments)
    config = pretrain.get_config().model
    params = nnx.split(Attention(config, rngs=nnx.Rngs(0)))[1]
    x = jax.random.normal(jax.random.key(0), (options.rows, LENGTH, config.hidden_size))
    segments = jnp.broadcast_to(1 + jnp.arange(LENGTH) // SEGMENT, x.shape[:2])
    config.dtype, key = "float32", jax.random.key(1)
    with jax.default_matmul_precision("highest"):
        wanted = make_layer(config, None)(params, x, segments, key)[:2]
    config.dtype = options.dtype
    given = params, x.astype(options.dtype), segments, key
    print(f"{jax.devices()[0].device_kind}, {options.rows} rows, {options.dtype}")
    for name, attend, dropout in (
        ("ours, with dropout", None, True),
        ("ours", None, False),
        ("jax.nn, xla", standard("xla"), False),
        ("jax.nn, cudnn", standard("cudnn"), False),
        ("Pallas, GPU", pallas_gpu, False),
        ("Pallas, TPU", pallas_tpu, False),
    ):
        layer = make_layer(config, attend, dropout)
        try:
            seconds = median_seconds(layer, *given)
            far = (
                "" if dropout else f"{distance(layer(*given)[:2], wanted):.1e} from ours in float32"
            )
            print(f"{name:<20} {1000 * seconds:9.3f} ms  {far}", flush=True)
        except (NotImplementedError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            print(f"{name:<20} left out: {reason[:200]}", flush=True)


if __name__ == "__main__":
    main()
