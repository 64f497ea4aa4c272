"""A config made ready: data and model checked against each other, mesh and compiled functions."""

import dataclasses
import pathlib
import sys

import jax

from data.errors import InputError
from data.mixture import Mixture, shares
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


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset of the experiment, by the name that the config has for it."""

    name: str
    directory: pathlib.Path
    metadata: DatasetMetadata


class Experiment:
    """What training and evaluation share.

    Attributes: config, sources, metadata (of the first source, which the model is made for), mesh,
    program.

    Raises:
      InputError: data missing, or settings that do not go together.
    """

    def __init__(self, config):
        self.config = config = config.copy_and_resolve_references()
        settings.check(config)
        self.sources = [open_dataset(config, name) for name in settings.source_names(config)]
        self.metadata = self.sources[0].metadata
        self.accepted = settings.accepted_mismatches(config)
        check_data(config, self.sources[0])
        for source in self.sources[1:]:
            expected, whose = identity(self.metadata), f"Dataset {self.sources[0].name!r} has"
            check_identity(source.metadata, expected, whose, self.accepted)
        self.with_split(config.data.eval_split)
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
        """The batches of a split of all sources, mixed, of this process's groups."""
        clips = {source.name: self._clips(source, split) for source in self.sources}
        return self._batches(Mixture(clips, self.config.data.weights))

    def source_batches(self, source: Source, split: str) -> Batches:
        """The batches of one source's split."""
        return self._batches(self._clips(source, split))

    def query_batches(self, source: Source, split: str) -> Batches | None:
        """The same with the split's annotated queries for queries, None if it has none."""
        if not source.metadata.queries.get(split):
            return None
        queries = QuerySplit(source.directory, split, self.config.data.on_corrupt)
        return self._batches(self._clips(source, split), queries)

    def _clips(self, source, split):
        return Split(source.directory, split, self.config.data.on_corrupt)

    def _batches(self, clips, queries=None):
        groups = sharding.local_groups(self.mesh, self.config.batch.groups)
        return Batches(clips, self.config.batch, groups, queries)

    def with_split(self, split: str) -> list[Source]:
        """The sources that have a split; InputError if there is none."""
        found = [source for source in self.sources if split in source.metadata.clips]
        if not found:
            known = dict.fromkeys(name for source in self.sources for name in source.metadata.clips)
            raise InputError(
                f"Dataset {' or '.join(str(source.directory) for source in self.sources)} has no "
                f"split {split!r}: set --config.data.eval_split to one of {', '.join(known)}."
            )
        return found

    def _find_rows(self):
        """Fills in the numbers of rows that the config leaves open."""
        batch = self.config.batch
        if not batch.rows_per_group or not batch.query_rows_per_group:
            train, other = self.config.data.train_split, self.config.data.eval_split
            if all(train in source.metadata.clips for source in self.sources):
                batches = self.batches(train)
            else:
                batches = self.source_batches(self.with_split(other)[0], other)
            rows, query_rows = fitting_rows(batches)
            batch.rows_per_group = batch.rows_per_group or rows
            batch.query_rows_per_group = batch.query_rows_per_group or query_rows

    def about(self) -> dict:
        """What a checkpoint says of how it came to be, as JSON values."""
        return {
            "config": {name: plain(self.config[name]) for name in FIXED},
            "data": identity(self.metadata),
            "sources": self._mixed(),
        }

    def _mixed(self):
        """Names, numbers of clips and shares of what is trained on."""
        names = [source.name for source in self.sources]
        sizes = [source.metadata.clips[self.config.data.train_split] for source in self.sources]
        mixed = zip(names, sizes, shares(self.config.data.weights, sizes), strict=True)
        return [{"name": name, "clips": size, "share": share} for name, size, share in mixed]

    def check_model(self, about: dict, whose: str) -> None:
        """InputError if a checkpoint is of a model of another shape, or made for other data."""
        _check_complete(about, whose)
        theirs = about["config"]["model"]
        for field, here, there in differences(plain(self.config.model), theirs):
            if field[1:] not in FREE:
                raise InputError(
                    f"{whose} has config.model{field}={there}, not {here}; set "
                    f"--config.model{field}={there}."
                )
        check_identity(self.metadata, about["data"], f"{whose} was made for", self.accepted)

    def check_same(self, about: dict, directory) -> None:
        """InputError if a run would go on with other settings or other data than it began with."""
        mine, whose = self.about(), f"The run in {directory}"
        _check_complete(about, whose)
        # First the data, on which some of the config depends.
        check_identity(self.metadata, about["data"], f"{whose} was made for", self.accepted)
        if mine["sources"] != about["sources"]:
            raise InputError(
                f"{whose} is trained on {_in_words(about['sources'])}, not on "
                f"{_in_words(mine['sources'])}: set --config.data.name and --config.data.weights "
                "to that, choose another --workdir, or start from its weights with "
                "--config.init_from."
            )
        for name in FIXED:
            for field, here, there in differences(mine["config"][name], about["config"][name]):
                raise InputError(
                    f"{whose} has config.{name}{field}={there}, not {here}: set it to that, choose "
                    "another --workdir, or start from its weights with --config.init_from."
                )


def open_dataset(config, name: str) -> Source:
    """A dataset that has been built; InputError if it has not."""
    directory = pathlib.Path(config.data.dir) / name
    if not directory.is_dir():
        raise InputError(
            f"Dataset {directory} does not exist: build it with `python -m data.build raw "
            f"--out={directory} ...` (see its --help), or take the sample corpus: `python -m "
            f"data.build shapes --out={config.data.dir}/shapes` and "
            "--config=configs/pretrain.py:shapes."
        )
    return Source(name, directory, DatasetMetadata.load(directory))


def _check_complete(about: dict, whose: str) -> None:
    """InputError if a checkpoint lacks what later versions say of a run."""
    if "sources" not in about or not IDENTITY.keys() <= about["data"].keys():
        raise InputError(
            f"{whose} was made by an earlier version, which did not write down all that has to be "
            "compared; train it again."
        )


def _in_words(sources):
    parts = (f"{s['name']} ({s['clips']} clips, {100 * s['share']:g}%)" for s in sources)
    return " and ".join(parts)


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
        if field not in settings.ACCEPTABLE or (
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


def check_data(config, source: Source) -> None:
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
