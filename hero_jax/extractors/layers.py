"""Parts of the networks, for inference: convolutions that BatchNorm is folded into, and pools.

Images are `[n, height, width, channels]` and clips `[n, time, height, width, channels]`. Weights
are taken by their reference names, in PyTorch's layout, once, when a module is made.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

# Zeros before and after each axis that a kernel moves along.
Padding = Sequence[tuple[int, int]]
_LAYOUTS = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


class Weights:
    """Weights of a network, float32 by reference name, for its modules to take.

    Attributes:
      dtype: dtype of the modules' parameters and of what they compute.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], dtype: str = "float32"):
        self.dtype = jnp.dtype(dtype)
        self._arrays = arrays

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns an array."""
        assert self._arrays[name].shape == shape, f"{name}: {self._arrays[name].shape}, not {shape}"
        return self._arrays[name]

    def param(self, array: np.ndarray) -> nnx.Param[jax.Array]:
        """Returns a parameter in the modules' dtype."""
        return nnx.Param(jnp.asarray(array, self.dtype))


class Shapes(Weights):
    """Stands for weights, to find the names and shapes that a network's modules take.

    Attributes:
      taken: shapes by reference name.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.taken: dict[str, tuple[int, ...]] = {}

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns an array of ones."""
        self.taken[name] = shape
        return np.broadcast_to(np.float32(1), shape)

    def param(self, array: np.ndarray) -> nnx.Param[jax.Array]:
        """Returns a parameter without values."""
        return nnx.Param(jnp.zeros((0,), self.dtype))


class Conv(nnx.Module):
    """Convolution with a BatchNorm folded into it, in two or three dimensions."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        norm: str,
        sizes: tuple[int, int],
        kernel: Sequence[int],
        *,
        strides: Sequence[int] | None = None,
        padding: Padding | None = None,
        depthwise: bool = False,
        epsilon: float = 1e-5,
    ):
        """Takes the weights.

        Args:
          weights: the network's weights.
          name: name of the convolution, which has no bias.
          norm: name of the BatchNorm.
          sizes: number of input and output channels.
          kernel: size of the kernel along each axis.
          strides: by default 1.
          padding: by default half the kernel on either side.
          depthwise: each channel has its own kernel.
          epsilon: that of the BatchNorm.
        """
        in_size, out_size = sizes
        array = weights.take(f"{name}.weight", out_size, 1 if depthwise else in_size, *kernel)
        scale, bias, mean, variance = (
            weights.take(f"{norm}.{part}", out_size).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + epsilon)
        # From [out, in, ...] to [..., in, out].
        self.kernel = weights.param(np.moveaxis(array, (0, 1), (-1, -2)) * scale.astype(np.float32))
        self.bias = weights.param(bias - mean * scale)
        self.strides = tuple(strides or (1,) * len(kernel))
        self.padding = tuple(padding or ((size // 2, size // 2) for size in kernel))
        self.depthwise = depthwise

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `[n, ..., out]` for `x` `[n, ..., in]`."""
        kernel = self.kernel[...]
        if self.depthwise:
            y = _depthwise(x, kernel, self.strides, self.padding)
        else:
            y = convolve(x, kernel, self.strides, self.padding)
        return y + self.bias[...]


class Dense(nnx.Module):
    """Linear map with a bias."""

    def __init__(self, weights: Weights, name: str, in_size: int, out_size: int):
        self.kernel = weights.param(weights.take(f"{name}.weight", out_size, in_size).T)
        self.bias = weights.param(weights.take(f"{name}.bias", out_size))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.kernel[...] + self.bias[...]


def convolve(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding
) -> jax.Array:
    """Returns the convolution of images or clips with a kernel `[..., in, out]`."""
    if len(strides) == 3 and jax.default_backend() == "cpu":
        return _convolve_as_2d(x, kernel, strides, padding)
    layout = _LAYOUTS[len(strides)]
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


def _convolve_as_2d(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding
) -> jax.Array:
    """Returns the convolution of clips as convolutions of images, which are faster on a CPU."""
    clips, _, height, width, in_size = x.shape
    times, *window, _, out_size = kernel.shape
    if window == [1, 1] and strides[1:] == (1, 1):
        images = x.reshape(clips, -1, height * width, in_size)
        y = convolve(images, kernel[:, :, 0], (strides[0], 1), (padding[0], (0, 0)))
        return y.reshape(clips, -1, height, width, out_size)
    assert strides[0] == 1, strides
    # Each image is convolved with the kernel's slices of all times at once: more output channels at
    # a time are faster.
    slices = jnp.moveaxis(kernel, 0, -2).reshape(*window, in_size, times * out_size)
    x = jnp.pad(x, ((0, 0), padding[0], (0, 0), (0, 0), (0, 0)))
    images = x.reshape(-1, height, width, in_size)
    y = convolve(images, slices, strides[1:], padding[1:])
    y = y.reshape(clips, -1, *y.shape[1:3], times, out_size)
    length = y.shape[1] - times + 1
    total = y[:, :length, ..., 0, :]
    for time in range(1, times):
        total += y[:, time : time + length, ..., time, :]
    return total


def _depthwise(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding
) -> jax.Array:
    """Returns the convolution of images with a kernel `[height, width, 1, channels]`.

    The compiler makes one loop of the sum over the kernel's places; its own convolutions with a
    group for each channel are many times slower on a CPU.
    """
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *padding, (0, 0)))
    rows, columns = kernel.shape[:2]
    height, width = (
        (size - places) // stride * stride + 1
        for size, places, stride in zip(padded.shape[1:3], (rows, columns), strides, strict=True)
    )
    total = jnp.zeros((), jnp.float32)
    for row in range(rows):
        for column in range(columns):
            moved = padded[:, row : row + height : strides[0], column : column + width : strides[1]]
            total = total + moved * kernel[row, column, 0]
    return total.astype(x.dtype)


def max_pool(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], padding: Padding
) -> jax.Array:
    """Returns the largest values of each window; padding is never the largest."""
    lowest = jnp.array(-jnp.inf, x.dtype)
    pads = ((0, 0), *padding, (0, 0))
    return lax.reduce_window(x, lowest, lax.max, (1, *window, 1), (1, *strides, 1), pads)


def normalised(
    rows: jax.Array, mean: Sequence[float], std: Sequence[float], dtype: jnp.dtype
) -> jax.Array:
    """Returns uint8 pixels, divided by 255, less `mean` and divided by `std` of their channels."""
    scaled = rows.astype(jnp.float32) / 255
    return ((scaled - jnp.array(mean)) / jnp.array(std)).astype(dtype)
