"""The datasets of an experiment, opened and checked against its config."""

import dataclasses
import pathlib

from data.arguments import user_path
from data.config import Config
from data.errors import InputError
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
