"""The sample corpus' own features of its films: `shapes-appearance` and `shapes-motion`.

They have no weights: they are measured, as the corpus does it with its own images.
"""

from fractions import Fraction

from data.arguments import refusal
from data.shapes.decoded import Images, appearance, motion
from data.shapes.features import APPEARANCE_WIDTH, MOTION_WIDTH
from data.shapes.source import FEATURES, SECONDS_PER_FEATURE
from hero_jax.extractors.base import Network


def _images(moving: bool, seconds_per_feature: Fraction) -> Images:
    if seconds_per_feature != SECONDS_PER_FEATURE:
        needed = f"{Fraction(SECONDS_PER_FEATURE)}, as the sample corpus has them"
        raise refusal("seconds per feature", str(seconds_per_feature), needed)
    return Images(moving)


APPEARANCE = Network(
    FEATURES[0].network,
    APPEARANCE_WIDTH,
    sampling=lambda seconds_per_feature, even: _images(False, seconds_per_feature),
    make=lambda weights: appearance,
    version=FEATURES[0].weights,
)
MOTION = Network(
    FEATURES[1].network,
    MOTION_WIDTH,
    sampling=lambda seconds_per_feature, even: _images(True, seconds_per_feature),
    make=lambda weights: motion,
    version=FEATURES[1].weights,
)
