"""Models with random parameters, made faster than by their initializers."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hero_jax.models.hero import HERO

# Standard deviation of the parameters; small ones would make softmaxes flat.
SPREAD = 0.5


def random_model(config, heads=None, seed=0) -> tuple[nnx.GraphDef, nnx.State]:
    """Returns graph and random parameters; constant ones would hide that two are mixed up.

    Args:
      config: the model's settings.
      heads: functions that make heads, as in `HERO`.
      seed: seed of the parameters.
    """
    abstract = nnx.eval_shape(lambda: HERO(config, heads, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(abstract, nnx.Param)
    rng = np.random.default_rng(seed)
    return graphdef, jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(scale=SPREAD, size=leaf.shape), jnp.float32), state
    )
