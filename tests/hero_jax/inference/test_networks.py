"""An export knows the networks of its features, and reads only datasets of the same."""

import dataclasses
import functools
import json
import warnings

import numpy as np
import pytest

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.errors import InputError
from data.schema import FeatureIdentity, RawClip
from data.sources.base import ClipSource
from hero_jax import export
from hero_jax.inference import exported
from hero_jax.inference.model import Model
from tests.hero_jax.inference.export_samples import SECONDS, WIDTHS, source, tokenizer

NETWORKS = (FeatureIdentity("resnet", "d" * 64), FeatureIdentity("slowfast", "e" * 64, True))
OTHERS = (FeatureIdentity("clip-vit", "c" * 64), NETWORKS[1])
TRAINED = {"step": 3, "metrics": {}, "sources": [{"name": "tv", "clips": 9, "share": 1.0}]}


@functools.cache
def made_for(networks):
    """An export of a model for features of these networks; None as of an earlier version."""
    description = source().description
    features = {} if networks is None else {"features": [one and vars(one) for one in networks]}
    data = {name: x for name, x in description["data"].items() if name != "features"} | features
    return dataclasses.replace(source(), description={**description, "data": data})


@functools.cache
def model_for(networks):
    return Model(made_for(networks))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Datasets of one clip, by what is known of their networks."""
    folder = tmp_path_factory.mktemp("datasets")
    parts = tuple(np.ones((3, width), np.float16) for width in WIDTHS)
    for name, networks in {"known": NETWORKS, "others": OTHERS, "unknown": ()}.items():
        clips = ClipSource({"test": [RawClip("a", parts, ())]}, SECONDS, networks=networks)
        build_dataset(folder / name, clips, tokenizer(), Building())
    return folder


def test_an_export_says_which_networks_make_its_features():
    assert made_for(NETWORKS).features.networks == NETWORKS
    assert model_for(NETWORKS).features.networks == NETWORKS
    assert made_for((None, NETWORKS[1])).features.networks == (None, NETWORKS[1])
    assert made_for(None).features.networks == (None, None)


@pytest.mark.parametrize("features", [[None], "resnet", [{"network": "resnet"}, None]])
def test_other_networks_than_parts_are_no_export(tmp_path, features):
    (tmp_path / exported.DESCRIPTION).write_text(
        json.dumps(
            {**source().description, "data": source().description["data"] | {"features": features}}
        )
    )
    tokenizer().save(tmp_path / exported.TOKENIZER)
    with pytest.raises(InputError, match=r"model\.json does not describe a model"):
        exported.read(tmp_path)


def test_the_card_names_the_networks():
    card = export._card(made_for(NETWORKS), TRAINED)
    networks = (
        "resnet (weights dddddddddddd) + slowfast (weights eeeeeeeeeeee, frames evenly spaced)"
    )
    assert f"- features of {networks}, of widths\n  4 + 2, one every 1.5 s; at most" in card
    assert "- features of an unknown network, of widths" in export._card(made_for(None), TRAINED)


def test_a_dataset_of_other_networks_is_refused(datasets):
    with pytest.raises(InputError) as caught:
        next(model_for(NETWORKS).records(datasets / "others", "test"))
    for said in [
        "dataset 'others' has features of clip-vit (weights cccccccccccc) + slowfast",
        "the model was made for features of resnet (weights dddddddddddd) + slowfast",
        "extract them with the model's networks and build the dataset again",
    ]:
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("networks", "name", "warned"),
    [
        (NETWORKS, "known", 0),
        (NETWORKS, "unknown", 1),
        (None, "known", 1),
        (None, "unknown", 0),
        ((None, NETWORKS[1]), "others", 1),
    ],
)
def test_networks_that_are_known_on_one_side_only_are_warned_of(datasets, networks, name, warned):
    model = model_for(networks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (clip,) = model.records(datasets / name, "test")
    assert clip.clip_id == "a"
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == warned
    assert all("an unknown network" in message for message in messages)


def test_the_identity_of_earlier_exports_stays():
    data = {
        "feature_widths": [4, 2],
        "seconds_per_feature": 1.5,
        "tokenizer": "t",
        "tokenizer_name": "",
        "vocab_size": 9,
        "special_ids": [0, 1, 2, 3],
    }
    parts = {
        "model": {"hidden_size": 2},
        "batch": {"max_frames": 9},
        "ranking": {},
        "tasks": {},
        "params": {"a": np.arange(6, dtype=np.float32)},
    }
    earlier = exported.describe(data=data, **parts)["identity"]
    # As computed before exports knew of networks.
    assert earlier == "d20cfd66b6e3a634a5e972bf02e98599bcef16b1815dfb12b3ad05a7212301c1"
    known = [vars(one) for one in NETWORKS]
    assert exported.describe(data=data | {"features": known}, **parts)["identity"] != earlier
