"""What runs, models and data have to have in common, and sentences about what they have not."""

import dataclasses
import sys

import jax

from data.errors import InputError
from data.schema import DatasetMetadata
from hero_jax.experiment import config_checks

# What data have to have in common, with the words for it.
IDENTITY = {
    "feature_widths": "features of widths",
    "seconds_per_feature": "seconds between features of",
    "vocab_size": "a vocabulary of",
    "special_ids": "ids of special tokens of",
    "tokenizer": "the tokenizer",
}
# Enough of a tokenizer's hash to tell it from others.
HASH_SHOWN = 12


def plain(value):
    """A config value as JSON would give it back."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def differences(here, there, prefix=""):
    """(field, value here, value there) of what differs between two nested dicts."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in sorted(here.keys() | there.keys()):
            yield from differences(here.get(key), there.get(key), f"{prefix}.{key}")
    elif here != there:
        yield prefix, here, there


def identity(metadata: DatasetMetadata) -> dict:
    """What features and words mean: models must only meet data in which they mean the same."""
    return {
        "feature_widths": list(metadata.feature_widths),
        "seconds_per_feature": metadata.seconds_per_feature,
        "tokenizer": metadata.tokenizer,
        "tokenizer_name": metadata.tokenizer_name,
        "vocab_size": metadata.vocab_size,
        "special_ids": list(dataclasses.astuple(metadata.special_ids)),
    }


def check_identity(
    metadata: DatasetMetadata, expected: dict, whose: str, accepted: set[str]
) -> None:
    """InputError if data differ from others in what is not accepted; warns of what is.

    Args:
      metadata: of the dataset.
      expected: the `identity` of the other data.
      whose: how a sentence about them begins, as "Dataset 'tv' has".
      accepted: fields that may differ, of `settings.ACCEPTABLE`.
    """
    found = identity(metadata)
    for field, what in IDENTITY.items():
        if found[field] == expected[field]:
            continue
        difference = (
            f"{whose} {what} {_shown(field, expected)}, and dataset {metadata.name!r} has "
            f"{_shown(field, found)}"
        )
        # No model takes features of two widths, however they are made up.
        if field not in config_checks.ACCEPTABLE or (
            field == "feature_widths" and sum(found[field]) != sum(expected[field])
        ):
            raise InputError(f"{difference}; build the dataset to match.")
        if field not in accepted:
            names = ",".join(sorted(accepted | {field}))
            raise InputError(
                f"{difference}; build the dataset to match, or go on in spite of it with "
                f"--config.data.accept_mismatch={names}."
            )
        if jax.process_index() == 0:
            print(
                f"warning: {difference}; accepted by config.data.accept_mismatch.",
                file=sys.stderr,
                flush=True,
            )


def _shown(field, identity):
    """A value of an identity, as short as it can be told from others."""
    if field != "tokenizer":
        return identity[field]
    return " ".join(filter(None, [identity["tokenizer_name"], identity[field][:HASH_SHOWN]]))
