"""Comparison of runs, models and data: what they have to have in common, and where they differ."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import jax

from data.errors import InputError
from data.networks import HASH_SHOWN, Agreement, compare, in_words
from data.schema import DatasetMetadata, feature_identities
from hero_jax.experiment.config_checks import ACCEPTABLE

# Fields that data have to have in common, with their words in a sentence. Besides these, networks
# that are known have to be the same.
IDENTITY = {
    "feature_widths": "features of widths",
    "seconds_per_feature": "seconds between features of",
    "vocab_size": "a vocabulary of",
    "special_ids": "ids of special tokens of",
    "tokenizer": "the tokenizer",
}


def plain(value: Any) -> Any:
    """Returns a config value as JSON would give it back."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def differences(left: Any, right: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields (field, value in left, value in right) where two nested dicts differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{prefix}.{key}")
    elif left != right:
        yield prefix, left, right


def complete_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's `batch` block, with the fields that those of earlier versions lack."""
    # They had a frame row for each clip.
    earlier = {
        "frame_rows_per_group": batch["clips_per_group"],
        "frame_row_length": batch["max_frames"],
        "max_subtitles": 0,
    }
    return earlier | batch


def complete_model(model: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's `model` block, with the fields that those of earlier versions lack."""
    return {"channels": "both", "fusion": "cross_modal"} | model


def identity(metadata: DatasetMetadata) -> dict[str, Any]:
    """Returns what features and words mean: a model only reads data in which they mean the same."""
    return {
        "feature_widths": list(metadata.feature_widths),
        "features": [one and dataclasses.asdict(one) for one in metadata.features],
        "seconds_per_feature": metadata.seconds_per_feature,
        "tokenizer": metadata.tokenizer,
        "tokenizer_name": metadata.tokenizer_name,
        "vocab_size": metadata.vocab_size,
        "special_ids": list(dataclasses.astuple(metadata.special_ids)),
    }


def check_identity(
    metadata: DatasetMetadata, expected: dict[str, Any], subject: str, accepted: set[str]
) -> None:
    """Checks that a dataset's identity is the expected one.

    It warns of accepted differences, and if the networks of one of the two are unknown.

    Args:
      expected: the `identity` of other data; that of earlier versions has no `features`.
      subject: the beginning of a sentence about them, as "Dataset 'tv' has".
      accepted: fields that may differ, of `config_checks.ACCEPTABLE`.

    Raises:
      InputError: another field differs.
    """
    actual = identity(metadata)
    for field, words in IDENTITY.items():
        if actual[field] == expected[field]:
            continue
        difference = (
            f"{subject} {words} {_shown(field, expected)}, and dataset {metadata.name!r} has "
            f"{_shown(field, actual)}"
        )
        # No model takes features of two widths, whatever their parts are.
        if field not in ACCEPTABLE or (
            field == "feature_widths" and sum(actual[field]) != sum(expected[field])
        ):
            raise InputError(f"{difference}: build the dataset to match")
        _check_accepted(field, difference, "build the dataset to match", accepted)
    _check_networks(metadata, expected, subject, accepted)


def _check_networks(
    metadata: DatasetMetadata, expected: dict[str, Any], subject: str, accepted: set[str]
) -> None:
    """Checks that the networks that made a dataset's features are the expected ones."""
    networks = feature_identities(expected.get("features"), len(expected["feature_widths"]))
    difference = (
        f"{subject} features of {in_words(networks)}, and dataset {metadata.name!r} has features "
        f"of {in_words(metadata.features)}"
    )
    agreement = compare(networks, metadata.features)
    if agreement is Agreement.OTHER:
        advice = "extract its features with the same networks and build it again"
        _check_accepted("features", difference, advice, accepted)
    elif agreement is Agreement.UNCERTAIN:
        _warn(f"{difference}; nothing fits together if they are not the same")


def _check_accepted(field: str, difference: str, advice: str, accepted: set[str]) -> None:
    """Warns of a difference in a field that may differ; raises InputError in another."""
    if field not in accepted:
        names = ",".join(sorted(accepted | {field}))
        raise InputError(
            f"{difference}: {advice}, or accept the difference with data.accept_mismatch={names}"
        )
    _warn(f"{difference}; accepted by data.accept_mismatch")


def _warn(sentence: str) -> None:
    if jax.process_index() == 0:
        print(f"warning: {sentence}", file=sys.stderr, flush=True)


def _shown(field: str, values: dict[str, Any]) -> Any:
    """Returns a value of an identity, short but distinct."""
    if field != "tokenizer":
        return values[field]
    return " ".join(filter(None, [values["tokenizer_name"], values[field][:HASH_SHOWN]]))
