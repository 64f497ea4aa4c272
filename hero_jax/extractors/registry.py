"""All networks, and the pairs of them that models were trained on."""

from pathlib import Path

from data.arguments import choice
from data.errors import InputError
from hero_jax.extractors import clip, efficientnet, resnet, s3d, shapes, slowfast, weights
from hero_jax.extractors.base import Extractor, Network

_NETWORKS = (
    resnet.NETWORK,
    slowfast.NETWORK,
    clip.NETWORK,
    s3d.NETWORK,
    efficientnet.NETWORK,
    shapes.APPEARANCE,
    shapes.MOTION,
)
NETWORKS: dict[str, Network] = {network.name: network for network in _NETWORKS}
# Networks whose features are joined, in this order.
GROUPS: dict[str, tuple[str, ...]] = {
    "resnet_slowfast": ("resnet", "slowfast"),
    "resnet_mil-nce": ("resnet", "mil-nce"),
    "clip-vit_slowfast": ("clip-vit", "slowfast"),
    "clip-vit_mil-nce": ("clip-vit", "mil-nce"),
    "shapes": ("shapes-appearance", "shapes-motion"),
}


def load(name: str, path: str | Path | None, dtype: str = "float32") -> Extractor:
    """Reads a network's weights and returns it, ready to use.

    Args:
      name: the network's name.
      path: file of the weights; None if they come with a package, or the network has none.
      dtype: `float32` or `bfloat16`, which the network computes in.

    Raises:
      InputError: there is no such network, the file cannot be read, or it is not the network's.
    """
    network = NETWORKS[choice(name, "the network", NETWORKS)]
    if path is None and not network.needs_weights:
        return Extractor(network, {}, dtype)
    if path is None:
        if network.packaged is None:
            raise InputError(f"the network {name!r} needs a file of weights: give its path")
        path = network.packaged()
    arrays, warnings = weights.state(name, path, network.shapes())
    return Extractor(network, arrays, dtype, warnings)
