"""CLIP's image encoder ViT-B/32 as OpenAI trained it: `clip-vit`, 512 numbers a frame."""

import jax
import jax.numpy as jnp
from flax import nnx

from hero_jax.extractors.base import Network, frames_of
from hero_jax.extractors.layers import Dense, Weights, normalised

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIDE, PATCH = 224, 32
WIDTH, HEADS, LAYERS, OUT = 768, 12, 12, 512
EPSILON = 1e-5


class LayerNorm(nnx.Module):
    """Layer normalisation, computed in float32."""

    def __init__(self, weights: Weights, name: str):
        self.scale = weights.param(weights.take(f"{name}.weight", WIDTH))
        self.bias = weights.param(weights.take(f"{name}.bias", WIDTH))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.standardize(x.astype(jnp.float32), axis=-1, epsilon=EPSILON)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class AttentionBlock(nnx.Module):
    """Transformer block that normalises before attention and before its two linear maps."""

    def __init__(self, weights: Weights, name: str):
        self.attention_norm = LayerNorm(weights, f"{name}.ln_1")
        kernel = weights.take(f"{name}.attn.in_proj_weight", 3 * WIDTH, WIDTH)
        self.kernel = weights.param(kernel.T)
        self.bias = weights.param(weights.take(f"{name}.attn.in_proj_bias", 3 * WIDTH))
        self.project = Dense(weights, f"{name}.attn.out_proj", WIDTH, WIDTH)
        self.mlp_norm = LayerNorm(weights, f"{name}.ln_2")
        self.up = Dense(weights, f"{name}.mlp.c_fc", WIDTH, 4 * WIDTH)
        self.down = Dense(weights, f"{name}.mlp.c_proj", 4 * WIDTH, WIDTH)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.attention_norm(x) @ self.kernel[...] + self.bias[...]
        y = y.reshape(*x.shape[:2], 3, HEADS, WIDTH // HEADS)
        y = jax.nn.dot_product_attention(y[:, :, 0], y[:, :, 1], y[:, :, 2])
        x = x + self.project(y.reshape(x.shape))
        y = self.up(self.mlp_norm(x))
        return x + self.down(y * jax.nn.sigmoid(1.702 * y))


class VisionTransformer(nnx.Module):
    """Transformer over the patches of a frame and a class token, which becomes the features."""

    def __init__(self, weights: Weights):
        patches = (SIDE // PATCH) ** 2
        kernel = weights.take("visual.conv1.weight", WIDTH, 3, PATCH, PATCH)
        self.kernel = weights.param(kernel.transpose(2, 3, 1, 0).reshape(-1, WIDTH))
        self.token = weights.param(weights.take("visual.class_embedding", WIDTH))
        positions = weights.take("visual.positional_embedding", patches + 1, WIDTH)
        self.positions = weights.param(positions)
        self.first_norm = LayerNorm(weights, "visual.ln_pre")
        names = (f"visual.transformer.resblocks.{layer}" for layer in range(LAYERS))
        self.blocks = nnx.List([AttentionBlock(weights, name) for name in names])
        self.last_norm = LayerNorm(weights, "visual.ln_post")
        self.project = weights.param(weights.take("visual.proj", WIDTH, OUT))

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns float32 features `[n, 512]`, for uint8 frames `[n, 224, 224, 3]`."""
        frames, side = rows.shape[0], SIDE // PATCH
        x = normalised(rows, MEAN, STD, self.kernel.dtype)
        x = x.reshape(frames, side, PATCH, side, PATCH, 3).swapaxes(2, 3)
        x = x.reshape(frames, side * side, -1) @ self.kernel[...]
        token = jnp.broadcast_to(self.token[...], (frames, 1, WIDTH))
        x = self.first_norm(jnp.concatenate([token, x], axis=1) + self.positions[...])
        for block in self.blocks:
            x = block(x)
        return (self.last_norm(x[:, 0]) @ self.project[...]).astype(jnp.float32)


NETWORK = Network(
    name="clip-vit",
    width=OUT,
    sampling=frames_of(crop=True),
    make=VisionTransformer,
)
