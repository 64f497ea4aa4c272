"""The datasets of an experiment, opened and checked against its config."""

import dataclasses
import pathlib

from data.arguments import user_path
from data.config import Config
from data.errors import InputError
from data.networks import in_words
from data.schema import DatasetMetadata


class MissingDataset(InputError):
    """A dataset of the config that has not been built.

    Attributes:
      directory: where it should be.
    """

    def __init__(self, directory: pathlib.Path):
        super().__init__(f"dataset {directory} does not exist")
        self.directory = directory


@dataclasses.dataclass(frozen=True)
class OpenDataset:
    """A dataset of the experiment, by the name that the config has for it."""

    name: str
    directory: pathlib.Path
    metadata: DatasetMetadata


def open_dataset(config: Config, name: str) -> OpenDataset:
    """Returns a dataset that has been built.

    Raises:
      MissingDataset: there is no folder of that name.
      InputError: the folder does not hold a whole dataset.
    """
    directory = user_path(config.data.dir) / user_path(name)
    if not directory.is_dir():
        raise MissingDataset(directory)
    return OpenDataset(name, directory, DatasetMetadata.load(directory))


def check_data(config: Config, source: OpenDataset) -> None:
    """Checks that a model of this config reads a dataset.

    Raises:
      InputError: a size or the frame rate differs; the sentence says what to set.
    """
    metadata = source.metadata
    widths = " + ".join(map(str, metadata.feature_widths))
    for field, expected, actual, description in (
        (
            "model.feature_size",
            config.model.feature_size,
            metadata.feature_width,
            f"features {widths} wide",
        ),
        (
            "model.vocab_size",
            config.model.vocab_size,
            metadata.vocab_size,
            f"a tokenizer of {metadata.vocab_size} tokens",
        ),
        (
            "data.seconds_per_feature",
            config.data.seconds_per_feature,
            metadata.seconds_per_feature,
            f"a feature every {metadata.seconds_per_feature} s",
        ),
    ):
        if expected != actual:
            raise InputError(
                f"dataset {source.directory} has {description}, but {field} is {expected}: set "
                f"{field}={actual}, or use the dataset that the config is for"
            )
    if config.data.features:
        _check_features(config.data.features, source)


def _check_features(kind: str, source: OpenDataset) -> None:
    """Checks that a dataset's features are of the networks of a kind, in its order.

    Features of databases may be in one part, whose networks are unknown.

    Raises:
      InputError: there is no such kind, or a part has another width or another network.
    """
    from hero_jax.extractors.registry import GROUPS, NETWORKS

    if kind not in GROUPS and kind not in NETWORKS:
        raise InputError(
            f"data.features={kind!r} is no network and no group of networks: choose of "
            f"{', '.join(dict.fromkeys([*GROUPS, *NETWORKS]))}, or '' for any"
        )
    names, metadata = GROUPS.get(kind, (kind,)), source.metadata
    widths = tuple(NETWORKS[name].width for name in names)
    known = tuple(one.network if one else None for one in metadata.features)
    differs = any(known) and (
        len(known) != len(names)
        or any(one not in (None, name) for one, name in zip(known, names, strict=True))
    )
    if differs or metadata.feature_widths not in (widths, (sum(widths),)):
        found = in_words(metadata.features)
        raise InputError(
            f"dataset {source.directory} has features of {found}, "
            f"{' + '.join(map(str, metadata.feature_widths))} wide, and data.features={kind} is "
            f"{' + '.join(map('{} {}'.format, names, widths))}: use the dataset that the config is "
            "for, or set data.features='' for any"
        )
