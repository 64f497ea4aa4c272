"""Models whose parameters are all random, without the time it takes to draw them as a run does."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hero_jax.models.hero import HERO

# Of the parameters; small ones would make softmaxes flat.
SPREAD = 0.5


def random_model(config, heads=None, seed=0) -> tuple[nnx.GraphDef, nnx.State]:
    """Graph and parameters; among ones and zeros a mix-up would not show.

    Args:
      config: the model's.
      heads: as `HERO` takes them.
    """
    abstract = nnx.eval_shape(lambda: HERO(config, heads, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(abstract, nnx.Param)
    rng = np.random.default_rng(seed)
    return graphdef, jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(scale=SPREAD, size=leaf.shape), jnp.float32), state
    )
