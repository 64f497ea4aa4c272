"""The networks give the features of the reference implementations."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data.video.decoding import Video
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.extractors import registry
from tests.golden.extractor_networks import CASES, TOLERANCE, error, extractor, frames, pooled
from tests.paths import TESTDATA


@pytest.fixture(scope="module")
def vectors():
    with np.load(TESTDATA / "extractors" / "networks.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def efficientnet():
    return extractor(CASES["efficientnet/features"])


# Networks of the same layers as the others', and of those in `test_layers`: drawing and compiling
# them takes seconds.
LARGE = ("resnet/features", "slowfast/features", "s3d/mixed_5c")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in CASES],
)
def test_features_are_those_of_the_reference(vectors, name):
    network = extractor(CASES[name])
    features = network(frames(CASES[name]))
    assert features.dtype == np.float32
    assert features.shape[1] == network.width
    assert error(vectors[name], features) < TOLERANCE


@pytest.mark.slow
def test_features_of_resnet_before_their_norm(vectors):
    assert error(vectors["resnet/pooled"], pooled()) < TOLERANCE


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(vectors):
    case = CASES["efficientnet/features"]
    found = error(vectors["efficientnet/features"], extractor(case, "bfloat16")(frames(case)))
    assert TOLERANCE < found < 0.1


def test_widths_samplings_and_groups():
    for network in registry.NETWORKS.values():
        if network.name in registry.GROUPS["shapes"]:
            continue
        takes_clips = network.name in ("slowfast", "mil-nce")
        for even in (False, True):
            sampling = network.sampling(Fraction(3, 2), even)
            assert sampling.seconds_per_feature == Fraction(3, 2)
            if takes_clips:
                assert sampling.even == even
            else:
                assert sampling.crop == (network.name != "resnet")
    widths = {
        name: sum(registry.NETWORKS[network].width for network in networks)
        for name, networks in registry.GROUPS.items()
    }
    assert widths == {
        "resnet_slowfast": 4352,
        "resnet_mil-nce": 3072,
        "clip-vit_slowfast": 2816,
        "clip-vit_mil-nce": 1536,
        "shapes": 208,
    }


# Second of a film, and what is to be seen then, by its number among ImageNet's classes.
LABELS = {
    ("ai_explained.webm", 1): 736,  # Pool table: a green table.
    ("ai_explained.webm", 12): 916,  # Web site, on a laptop.
    ("tears_of_steel.webm", 16): 617,  # Lab coat.
    ("tears_of_steel.webm", 68): 687,  # Organ, in a church.
}


@pytest.mark.shared
@pytest.mark.parametrize(
    "film", ["ai_explained.webm", pytest.param("tears_of_steel.webm", marks=pytest.mark.slow)]
)
def test_labels_of_real_frames(efficientnet, film):
    network = registry.NETWORKS["efficientnet-lite0"]
    classifier = read_state_dict(network.packaged())
    with Video(Path(os.environ["HERO_SHARED"], "videos", film)) as video:
        rows = [row for _, row in video.rows([network.sampling(Fraction(1), False)])]
    labels = {second: label for (name, second), label in LABELS.items() if name == film}
    features = efficientnet(np.stack([rows[second] for second in labels]))
    scores = features @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    assert scores.argmax(-1).tolist() == list(labels.values())
