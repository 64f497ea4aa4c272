"""A config made ready: data and model checked against each other, mesh and compiled functions."""

import pathlib

from data.errors import InputError
from data.pipeline import Batches, fitting_rows
from data.reader import QuerySplit, Split
from data.schema import DatasetMetadata
from hero_jax import settings, sharding
from hero_jax.step import Program
from hero_jax.task import Tokens
from hero_jax.tasks import TASKS

# A checkpoint may only go on with these as they were.
FIXED = ("model", "batch", "seed", "tasks", "objective", "optimizer", *TASKS)
# What may differ between a model and the checkpoint that its weights come from.
FREE = ("dropout", "attention_dropout", "initializer_range", "dtype", "remat")


class Experiment:
    """What training and evaluation share.

    Attributes: config, metadata (of the data), mesh, program.

    Raises:
      InputError: data missing, or settings that do not go together.
    """

    def __init__(self, config):
        self.config = config = config.copy_and_resolve_references()
        self.dataset_dir = pathlib.Path(config.data.dir) / config.data.name
        settings.check(config)
        if not self.dataset_dir.is_dir():
            raise InputError(
                f"Dataset {self.dataset_dir} does not exist: build it with `python -m data.build "
                f"raw --out={self.dataset_dir} ...` (see its --help), or take the sample corpus: "
                f"`python -m data.build shapes --out={config.data.dir}/shapes` and "
                "--config=configs/pretrain.py:shapes."
            )
        self.metadata = DatasetMetadata.load(self.dataset_dir)
        check_data(config, self.metadata, self.dataset_dir)
        check_batch(config)
        self.mesh = sharding.make_mesh(config.mesh)
        sharding.check_groups(self.mesh, config.batch.groups)
        self._find_rows()
        ids = self.metadata.special_ids
        first_word, end_word = self.metadata.word_ids
        tokens = Tokens(
            cls=ids.cls,
            pad=ids.pad,
            sep=ids.sep,
            mask=ids.mask,
            first_word=first_word,
            end_word=end_word,
        )
        self.program = Program(config, tokens, self.mesh)

    def batches(self, split: str) -> Batches:
        """The batches of a split, of this process's groups."""
        records = Split(self.dataset_dir, split, self.config.data.on_corrupt)
        groups = sharding.local_groups(self.mesh, self.config.batch.groups)
        return Batches(records, self.config.batch, groups)

    def query_batches(self, split: str) -> Batches | None:
        """The same with the split's annotated queries for queries, None if it has none."""
        if not self.metadata.queries.get(split):
            return None
        clips = self.batches(split)
        queries = QuerySplit(self.dataset_dir, split, self.config.data.on_corrupt)
        return Batches(clips.split, self.config.batch, clips.groups, queries)

    def _find_rows(self):
        """Fills in the numbers of rows that the config leaves open."""
        batch = self.config.batch
        if not batch.rows_per_group or not batch.query_rows_per_group:
            splits = self.metadata.clips
            train = self.config.data.train_split
            rows, query_rows = fitting_rows(
                self.batches(train if train in splits else self.config.data.eval_split)
            )
            batch.rows_per_group = batch.rows_per_group or rows
            batch.query_rows_per_group = batch.query_rows_per_group or query_rows

    def about(self) -> dict:
        """What a checkpoint says of how it came to be, as JSON values."""
        return {
            "config": {name: plain(self.config[name]) for name in FIXED},
            "data": identity(self.metadata),
        }

    def check_model(self, about: dict, whose: str) -> None:
        """InputError if a checkpoint is of a model of another shape, or made for other data."""
        theirs = about["config"]["model"]
        for field, here, there in differences(plain(self.config.model), theirs):
            if field[1:] not in FREE:
                raise InputError(
                    f"{whose} has config.model{field}={there}, not {here}; set "
                    f"--config.model{field}={there}."
                )
        check_identity(self.metadata, about["data"], whose)

    def check_same(self, about: dict, directory) -> None:
        """InputError if a run would go on with other settings or other data than it began with."""
        mine = self.about()
        for name in FIXED:
            for field, here, there in differences(mine["config"][name], about["config"][name]):
                raise InputError(
                    f"The run in {directory} has config.{name}{field}={there}, not {here}: set it "
                    "to that, choose another --workdir, or start from its weights with "
                    "--config.init_from."
                )
        check_identity(self.metadata, about["data"], f"The run in {directory}")


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
        "vocab_size": metadata.vocab_size,
    }


def check_identity(metadata: DatasetMetadata, expected: dict, whose: str) -> None:
    """InputError if data is not what a checkpoint was made for."""
    what = {
        "feature_widths": "features of widths",
        "seconds_per_feature": "seconds between features of",
        "tokenizer": "the tokenizer",
        "vocab_size": "a vocabulary of",
    }
    for name, here in identity(metadata).items():
        if here != expected[name]:
            raise InputError(
                f"{whose} was made for {what[name]} {expected[name]}, and dataset "
                f"{metadata.name!r} has {here}; build the dataset to match."
            )


def check_data(config, metadata: DatasetMetadata, directory) -> None:
    """InputError if config and dataset disagree; says what to set."""
    if config.data.eval_split not in metadata.clips:
        raise InputError(
            f"Dataset {directory} has no split {config.data.eval_split!r}: set "
            f"--config.data.eval_split to one of {', '.join(metadata.clips)}."
        )
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
                f"Dataset {directory} has {what}, but config.{field} is {here}: set "
                f"--config.{field}={there}, or use the dataset the config is for."
            )


def check_batch(config) -> None:
    """InputError if the batch's limits exceed the model's tables."""
    batch, model = config.batch, config.model
    words = batch.max_tokens * (batch.context_subtitles + 1)
    if batch.segmentation == "clip":
        words = batch.max_clip_tokens
    for what, value, field in (
        ("batch.max_frames", batch.max_frames, "segment_frames"),
        ("batch.max_frames", batch.max_frames, "clip_positions"),
        ("batch.max_frames", batch.max_frames, "max_frames"),
        ("the longest text of a segment with its special token", words + 1, "text_positions"),
        ("batch.max_tokens + 1", batch.max_tokens + 1, "query_positions"),
    ):
        if value > model[field]:
            raise InputError(
                f"config.{what} is {value}, more than config.model.{field}={model[field]}; "
                "lower the one or raise the other."
                if what.startswith("batch")
                else f"{what.capitalize()} has {value} tokens, more than config.model.{field}="
                f"{model[field]}; lower config.batch.max_tokens or max_clip_tokens, or raise it."
            )
    if (model.encoder == "flat") != (batch.segmentation == "clip"):
        raise InputError(
            f"config.model.encoder={model.encoder!r} does not go with config.batch.segmentation="
            f"{batch.segmentation!r}: 'flat' needs 'clip', the others need 'subtitle'."
        )
