"""Kinds of features: a dataset has to be of the networks that a config names."""

import pytest

from data.errors import InputError
from data.schema import DatasetMetadata, FeatureIdentity, SpecialIds
from hero_jax.experiment.datasets import OpenDataset, check_data
from tests.hero_jax.tiny import make_config

RESNET, SLOWFAST = FeatureIdentity("resnet", "394f"), FeatureIdentity("slowfast", "77aa")
S3D = FeatureIdentity("mil-nce", "0b12")


def check(kind, widths, networks, tmp_path):
    """Checks a dataset of these parts against a config of the same width."""
    config = make_config()
    config.data.features = kind
    config.model.feature_size = sum(widths)
    vocabulary, seconds = config.model.vocab_size, config.data.seconds_per_feature
    ids = SpecialIds(0, 1, 2, 3)
    metadata = DatasetMetadata(
        *("films", "2.0.0", widths, networks, seconds, "hash", "bpe", vocabulary, ids, (4, 9)),
        *("", {"train": 1}, {}, {}, {}),
    )
    check_data(config, OpenDataset("films", tmp_path, metadata))


@pytest.mark.parametrize(
    ("kind", "widths", "networks"),
    [
        ("resnet_slowfast", (2048, 2304), (RESNET, SLOWFAST)),
        ("resnet_slowfast", (2048, 2304), (RESNET, None)),
        ("resnet_slowfast", (4352,), (None,)),
        ("resnet", (2048,), (RESNET,)),
        ("", (4352,), (S3D,)),
    ],
)
def test_features_of_the_networks_are_read(kind, widths, networks, tmp_path):
    check(kind, widths, networks, tmp_path)


@pytest.mark.parametrize(
    ("kind", "widths", "networks", "said"),
    [
        ("resnet_slowfast", (2304, 2048), (SLOWFAST, RESNET), "slowfast .* 2304 \\+ 2048 wide"),
        ("resnet_slowfast", (2304, 2048), (None, None), "an unknown network, 2304 \\+ 2048 wide"),
        ("resnet_slowfast", (2048, 2304), (RESNET, S3D), "is resnet 2048 \\+ slowfast 2304: use"),
        ("resnet_slowfast", (4352,), (RESNET,), "features of resnet"),
        ("clip-vit", (2048,), (None,), "is clip-vit 512"),
        ("resnet-slowfast", (4352,), (None,), "'resnet-slowfast' is no network and no group"),
    ],
)
def test_other_features_are_refused(kind, widths, networks, said, tmp_path):
    with pytest.raises(InputError, match=said):
        check(kind, widths, networks, tmp_path)
