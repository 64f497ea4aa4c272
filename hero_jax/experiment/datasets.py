"""The datasets of an experiment, opened and checked against its config."""

import dataclasses
import pathlib

from data.errors import InputError
from data.schema import DatasetMetadata


@dataclasses.dataclass(frozen=True)
class OpenDataset:
    """A dataset of the experiment, by the name that the config has for it."""

    name: str
    directory: pathlib.Path
    metadata: DatasetMetadata


def open_dataset(config, name: str) -> OpenDataset:
    """A dataset that has been built; InputError if it has not."""
    directory = pathlib.Path(config.data.dir) / name
    if not directory.is_dir():
        raise InputError(
            f"Dataset {directory} does not exist: build it with `python -m data.build raw "
            f"--out={directory} ...` (see its --help), or take the sample corpus: `python -m "
            f"data.build shapes --out={config.data.dir}/shapes` and "
            "--config=configs/pretrain.py:shapes."
        )
    return OpenDataset(name, directory, DatasetMetadata.load(directory))


def check_data(config, source: OpenDataset) -> None:
    """InputError if config and dataset disagree; says what to set."""
    metadata = source.metadata
    for field, here, there, what in (
        (
            "model.feature_size",
            config.model.feature_size,
            metadata.feature_width,
            f"features {' + '.join(map(str, metadata.feature_widths))} wide",
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
        if here != there:
            raise InputError(
                f"Dataset {source.directory} has {what}, but config.{field} is {here}: set "
                f"--config.{field}={there}, or use the dataset the config is for."
            )
