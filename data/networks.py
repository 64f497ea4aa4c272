"""Networks that made features: compared part by part, and named in sentences."""

import enum
from collections.abc import Sequence
from typing import TypeAlias

from data.schema import FeatureIdentity

# One for each part of the features, None if it is unknown.
Networks: TypeAlias = Sequence[FeatureIdentity | None]

# Digits of a hash that a sentence shows.
HASH_SHOWN = 12
UNKNOWN = "an unknown network"


class Agreement(enum.Enum):
    """Result of comparing the networks of two kinds of features.

    SAME: they are the same, or nothing is known of either.
    UNCERTAIN: they may be the same, for all that is known.
    OTHER: they are not the same.
    """

    SAME = enum.auto()
    UNCERTAIN = enum.auto()
    OTHER = enum.auto()


def compare(left: Networks, right: Networks) -> Agreement:
    """Compares networks part by part; parts that divide otherwise agree only if one is unknown."""
    if not any(left) and not any(right):
        return Agreement.SAME
    if len(left) != len(right):
        return Agreement.OTHER if any(left) and any(right) else Agreement.UNCERTAIN
    pairs = [(one, other) for one, other in zip(left, right, strict=True) if one != other]
    if any(one and other for one, other in pairs):
        return Agreement.OTHER
    return Agreement.UNCERTAIN if pairs else Agreement.SAME


def in_words(networks: Networks) -> str:
    """Returns the names of networks, as 'resnet (weights 394f9c45b3c1) + an unknown network'."""
    return " + ".join(map(_in_words, networks)) if any(networks) else UNKNOWN


def _in_words(network: FeatureIdentity | None) -> str:
    if network is None:
        return UNKNOWN
    even = ", frames evenly spaced" if network.even_sampling else ""
    return f"{network.network} (weights {network.weights[:HASH_SHOWN]}{even})"
