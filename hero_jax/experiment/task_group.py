"""The data of an experiment, or of one of its tasks, made ready: datasets, batches, checks."""

from data.errors import InputError
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.clips import Clips
from data.pipeline.layout import Layout
from data.pipeline.mixture import Mixture, shares
from data.pipeline.units import AnnotatedSplit
from data.records.reader import QuerySplit, Split
from data.report import Report
from hero_jax import sharding
from hero_jax.experiment import config_checks
from hero_jax.experiment.compatibility import check_identity, identity
from hero_jax.experiment.config_checks import check_batch, check_encoder
from hero_jax.experiment.datasets import OpenDataset, check_data, open_dataset
from hero_jax.experiment.layouts import LAYOUTS
from hero_jax.tasks.base import Tokens
from hero_jax.tasks.registry import make_tasks


class TaskGroup:
    """Tasks that are trained on the same batches, and where these come from.

    Attributes: name, config, sources, metadata (of the first source, which the model is made for),
    tasks (by name), downstream (the one task that reads annotated queries, None in pre-training),
    left_out (of training: a `data.report.Report`).

    Raises:
      InputError: data missing, or settings that do not go together.
    """

    def __init__(self, config, mesh, name: str = ""):
        """name: of the part, and so of its task; '' if there is only one part."""
        self.name, self.config, self.mesh = name, config, mesh
        config_checks.check(config)
        self.sources = [open_dataset(config, name) for name in config_checks.source_names(config)]
        self.metadata = self.sources[0].metadata
        self.accepted = config_checks.accepted_mismatches(config)
        check_data(config, self.sources[0])
        for source in self.sources[1:]:
            expected, whose = identity(self.metadata), f"Dataset {self.sources[0].name!r} has"
            check_identity(source.metadata, expected, whose, self.accepted)
        self.with_split(config.data.eval_split)
        sharding.check_groups(mesh, config.batch.groups)
        check_encoder(config)
        self.tasks = make_tasks(config, self._tokens(), name)
        downstream = [task for task in self.tasks.values() if task.layout != "clips"]
        self.downstream = downstream[0] if downstream else None
        self.left_out = Report()
        if self.downstream:
            self._check_downstream()
        check_batch(config, self.downstream)
        self._annotated: dict[tuple[str, str], AnnotatedSplit] = {}
        self._find_rows()

    def _tokens(self):
        ids = self.metadata.special_ids
        first_word, end_word = self.metadata.word_ids
        return Tokens(
            cls=ids.cls,
            pad=ids.pad,
            sep=ids.sep,
            mask=ids.mask,
            first_word=first_word,
            end_word=end_word,
        )

    def _check_downstream(self):
        task, metadata = self.downstream, self.metadata
        if len(self.tasks) > 1:
            raise InputError(
                f"config.tasks has {', '.join(self.tasks)}, which do not read the same batches: "
                "give one of them alone, or see configs/multitask.py."
            )
        if len(self.sources) > 1:
            raise InputError(
                f"config.data.name={self.config.data.name!r} has to be one dataset: only "
                "pre-training mixes several."
            )
        if metadata.query_type != task.query_type:
            has = f"{metadata.query_type} annotations" if metadata.query_type else "no annotations"
            raise InputError(
                f"Dataset {self.sources[0].directory} has {has}, and {type(task).__name__} needs "
                f"some of type {task.query_type!r}: build it with such annotations."
            )

    def batches(self, split: str) -> Batches:
        """The batches to train on, of this process's groups."""
        if self.downstream is None:
            clips = {source.name: self._clips(source, split) for source in self.sources}
            return self._clip_batches(Mixture(clips, self.config.data.weights))
        layout = self._layout(self.downstream.layout)
        items = layout.items(self._data(layout, self.sources[0], split), training=True)
        self.left_out = items.left_out
        if not len(items):
            reasons = "; ".join(self.left_out.lines()) or "it has none"
            raise InputError(
                f"Split {split!r} of {self.sources[0].directory} has no query to train on: "
                f"{reasons}."
            )
        return Batches(layout, items, self._groups())

    def annotated(self, source: OpenDataset, split: str) -> AnnotatedSplit:
        """Clips and queries of a split; InputError if it has no queries."""
        if not source.metadata.queries.get(split):
            raise InputError(
                f"Split {split!r} of {source.directory} has no annotations: build the dataset with "
                "them, or set --config.data.eval_split to another."
            )
        key = source.name, split
        if key not in self._annotated:
            on_corrupt = self.config.data.on_corrupt
            self._annotated[key] = AnnotatedSplit(source.directory, split, on_corrupt)
        return self._annotated[key]

    def evaluation_batches(self, source: OpenDataset, split: str, layout: str):
        """Batches of a downstream task's pass over a split, and what is left out of them."""
        chosen = self._layout(layout)
        items = chosen.items(self._data(chosen, source, split), training=False)
        return Batches(chosen, items, self._groups()), items.left_out

    def source_batches(self, source: OpenDataset, split: str) -> Batches:
        """The batches of one source's split."""
        return self._clip_batches(self._clips(source, split))

    def query_batches(self, source: OpenDataset, split: str) -> Batches | None:
        """The same with the split's annotated queries for queries, None if it has none."""
        if not source.metadata.queries.get(split):
            return None
        queries = QuerySplit(source.directory, split, self.config.data.on_corrupt)
        return self._clip_batches(self._clips(source, split), queries)

    def _layout(self, name: str) -> Layout:
        return LAYOUTS[name](self.config.batch, self.metadata)

    def _data(self, layout, source, split):
        """Returns what a layout's `items` takes."""
        return (self.annotated if layout.annotated else self._clips)(source, split)

    def _clips(self, source, split):
        return Split(source.directory, split, self.config.data.on_corrupt)

    def _groups(self):
        return sharding.local_groups(self.mesh, self.config.batch.groups)

    def _clip_batches(self, clips, queries=None):
        layout = Clips(self.config.batch, clips.metadata, queries)
        return Batches(layout, layout.items(clips, training=True), self._groups())

    def with_split(self, split: str) -> list[OpenDataset]:
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
            rows, query_rows = fitting_rows(self._typical_batches())
            batch.rows_per_group = batch.rows_per_group or rows
            batch.query_rows_per_group = batch.query_rows_per_group or query_rows

    def _typical_batches(self):
        """Of the training split, if all sources have it."""
        train, other = self.config.data.train_split, self.config.data.eval_split
        if all(train in source.metadata.clips for source in self.sources):
            return self.batches(train)
        source = self.with_split(other)[0]
        if self.downstream is None:
            return self.source_batches(source, other)
        # Queries that tell nothing have no clips to be packed with, but there are clips.
        return self.evaluation_batches(source, other, next(iter(self.downstream.passes)))[0]

    def mixed(self) -> list[dict]:
        """Names, numbers of clips and shares of what is trained on."""
        names = [source.name for source in self.sources]
        sizes = [source.metadata.clips[self.config.data.train_split] for source in self.sources]
        mixed = zip(names, sizes, shares(self.config.data.weights, sizes), strict=True)
        return [{"name": name, "clips": size, "share": share} for name, size, share in mixed]
