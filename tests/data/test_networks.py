"""Networks of features: which go together, and how sentences name them."""

from hypothesis import given
from hypothesis import strategies as st

from data.networks import UNKNOWN, Agreement, compare, in_words
from data.schema import FeatureIdentity

NETWORK = st.builds(
    FeatureIdentity, st.sampled_from(["resnet", "clip-vit"]), st.sampled_from("ab"), st.booleans()
)
NETWORKS = st.lists(st.none() | NETWORK, max_size=3)


@given(NETWORKS, NETWORKS)
def test_only_known_networks_differ(left, right):
    agreement = compare(left, right)
    assert compare(right, left) is agreement
    if left == right or not any(left + right):
        assert agreement is Agreement.SAME
    elif not any(left) or not any(right):
        assert agreement is Agreement.UNCERTAIN
    elif len(left) != len(right):
        assert agreement is Agreement.OTHER
    else:
        both = [(a, b) for a, b in zip(left, right, strict=True) if a and b]
        differ = any(a != b for a, b in both)
        assert agreement is (Agreement.OTHER if differ else Agreement.UNCERTAIN)


@given(st.lists(NETWORK, min_size=1, max_size=3))
def test_a_part_that_is_not_known_is_uncertain_beside_one_that_is(networks):
    assert compare(networks, networks) is Agreement.SAME
    for place in range(len(networks)):
        holed = [*networks[:place], None, *networks[place + 1 :]]
        assert compare(networks, holed) is Agreement.UNCERTAIN
        assert compare(holed, holed) is Agreement.SAME


def test_names_in_a_sentence():
    networks = (FeatureIdentity("slowfast", "0123456789abcdef", True), None)
    assert in_words(networks) == (
        "slowfast (weights 0123456789ab, frames evenly spaced) + an unknown network"
    )
    assert in_words((FeatureIdentity("shapes-motion", "1"),)) == "shapes-motion (weights 1)"
    assert in_words((None, None)) == in_words(()) == UNKNOWN
