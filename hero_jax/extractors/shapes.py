"""The sample corpus' own features of its films: `shapes-appearance` and `shapes-motion`.

They have no weights: they are measured, as the corpus does it with its own images.
"""

from fractions import Fraction

from data.arguments import refusal
from data.schema import FeatureIdentity
from data.shapes.decoded import Images, appearance, motion
from data.shapes.features import APPEARANCE_WIDTH, MOTION_WIDTH
from data.shapes.source import FEATURES, SECONDS_PER_FEATURE
from hero_jax.extractors.base import FeatureModule, Network


def _images(moving: bool, seconds_per_feature: Fraction) -> Images:
    if seconds_per_feature != SECONDS_PER_FEATURE:
        needed = f"{Fraction(SECONDS_PER_FEATURE)}, as the sample corpus has them"
        raise refusal("seconds per feature", str(seconds_per_feature), needed)
    return Images(moving)


def _network(
    identity: FeatureIdentity, width: int, moving: bool, measure: FeatureModule
) -> Network:
    return Network(
        identity.network,
        width,
        sampling=lambda seconds_per_feature, even: _images(moving, seconds_per_feature),
        make=lambda weights: measure,
        version=identity.weights,
    )


APPEARANCE = _network(FEATURES[0], APPEARANCE_WIDTH, False, appearance)
MOTION = _network(FEATURES[1], MOTION_WIDTH, True, motion)
