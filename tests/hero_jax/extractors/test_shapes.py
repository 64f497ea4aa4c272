"""The sample corpus' networks: loaded without weights, they give the corpus' own features."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from data.errors import InputError
from data.shapes.source import FEATURES, look, scaled, scales, tell_film
from data.shapes.videos import write_video
from data.video.decoding import Video
from hero_jax.extractors.registry import GROUPS, NETWORKS, load

SECONDS = Fraction(3, 2)


def test_a_film_has_the_features_of_the_corpus(tmp_path):
    whole = tell_film(0, 3)[0]
    story = dataclasses.replace(whole, duration=9.0, events=whole.events[:2])
    write_video(tmp_path / "film.mp4", story, "mpeg4")
    extractors = [load(name, None) for name in GROUPS["shapes"]]
    samplings = [extractor.sampling(SECONDS, False) for extractor in extractors]
    rows = [[], []]
    with Video(tmp_path / "film.mp4") as video:
        for number, row in video.rows(samplings):
            rows[number].append(row)
    for extractor, made, measured, scale in zip(
        extractors, rows, look(story)[1], scales(), strict=True
    ):
        features = extractor(np.stack(made))
        assert features.shape == (6, NETWORKS[extractor.name].width)
        assert features.dtype == np.float32
        # The shades of the stage differ a little.
        np.testing.assert_allclose(features, scaled(measured, scale), atol=0.2)
        assert extractor(np.stack(made)[:0]).shape == (0, extractor.width)


def test_only_the_corpus_seconds_are_taken():
    for name in GROUPS["shapes"]:
        assert load(name, None).sampling(SECONDS, True) == NETWORKS[name].sampling(SECONDS, False)
        with pytest.raises(InputError, match="seconds per feature is '2': give 3/2"):
            NETWORKS[name].sampling(Fraction(2), False)


def test_features_have_the_identity_of_the_corpus():
    """So a model that was trained on the corpus takes films of it."""
    for name, identity in zip(GROUPS["shapes"], FEATURES, strict=True):
        extractor = load(name, None)
        assert (extractor.name, extractor.weights) == (identity.network, identity.weights)
