"""Tasks that read the same batches: their datasets, checks and batches."""

from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.errors import InputError
from data.pipeline.batches import Batches, CorpusBatches, UnitBatches, fitting_rows
from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.mixture import Mixture, shares
from data.pipeline.retrieval import QueryTexts, Retrieval
from data.pipeline.units import AnnotatedSplit
from data.records.reader import QuerySplit, Split
from data.report import Report
from hero_jax import sharding
from hero_jax.experiment import config_checks
from hero_jax.experiment.compatibility import check_identity, identity
from hero_jax.experiment.config_checks import check_batch, check_encoder
from hero_jax.experiment.datasets import OpenDataset, check_data, open_dataset
from hero_jax.tasks.base import Task, Tokens
from hero_jax.tasks.registry import make_tasks

LAYOUTS = {"retrieval": Retrieval, "choices": Choices, "captions": Captions}


class TaskGroup:
    """Tasks that are trained on the same batches, and the data of these batches.

    Attributes:
      name: of the part of the config; '' if it has none.
      config: of the group, with the numbers of rows filled in.
      sources: its datasets.
      metadata: of the first dataset, which the model is made for.
      tasks: by name.
      downstream: the one task that reads annotated queries, None in pre-training.
      left_out: what training leaves out.
    """

    def __init__(self, config: ConfigDict, mesh: Mesh, name: str = ""):
        """Opens the datasets, and checks the config.

        Args:
          name: of the part, and so of its task; '' for a config without parts.

        Raises:
          InputError: data are missing, or settings do not go together.
        """
        self.name, self.config, self.mesh = name, config, mesh
        config_checks.check(config)
        self.sources = [open_dataset(config, name) for name in config_checks.source_names(config)]
        self.metadata = self.sources[0].metadata
        self.accepted = config_checks.accepted_mismatches(config)
        check_data(config, self.sources[0])
        for source in self.sources[1:]:
            subject = f"dataset {self.sources[0].name!r} has"
            check_identity(source.metadata, identity(self.metadata), subject, self.accepted)
        self.with_split(config.data.eval_split)
        sharding.check_groups(mesh, config.batch.groups)
        check_encoder(config)
        self.tasks = make_tasks(config, self._tokens(), name)
        self.downstream = next((task for task in self.tasks.values() if task.downstream), None)
        self.left_out = Report()
        if self.downstream:
            self._check_downstream(self.downstream)
        check_batch(config, self.downstream)
        self._annotated: dict[tuple[str, str], AnnotatedSplit] = {}
        self._find_rows()

    def _tokens(self) -> Tokens:
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

    def _check_downstream(self, task: Task) -> None:
        if len(self.tasks) > 1:
            raise InputError(
                f"tasks has {', '.join(self.tasks)}, which do not read the same batches: give one "
                "of them alone, or see configs/multitask.py"
            )
        if len(self.sources) > 1:
            raise InputError(
                f"data.name={self.config.data.name!r} has to be one dataset: only pre-training "
                "mixes several"
            )
        query_type = self.metadata.query_type
        if query_type != task.query_type:
            has = f"{query_type} annotations" if query_type else "no annotations"
            raise InputError(
                f"dataset {self.sources[0].directory} has {has}, and {task.kind} needs some of "
                f"type {task.query_type!r}: build it with such annotations"
            )

    def batches(self, split: str) -> Batches:
        """The batches to train on, of this process's groups."""
        if self.downstream is None:
            clips = {source.name: self._clips(source, split) for source in self.sources}
            return self._batches(Mixture(clips, self.config.data.weights))
        annotated = self.annotated(self.sources[0], split)
        layout = self._layout(self.downstream.layout)
        units, self.left_out = annotated.units(layout.group, layout.most, layout.problem)
        if not units:
            reasons = "; ".join(self.left_out.lines()) or "it has none"
            raise InputError(
                f"split {split!r} of {self.sources[0].directory} has no query to train on: "
                f"{reasons}"
            )
        return UnitBatches(annotated, units, layout, self.config.batch, self._groups())

    def annotated(self, source: OpenDataset, split: str) -> AnnotatedSplit:
        """Clips and queries of a split; InputError if it has no queries."""
        if not source.metadata.queries.get(split):
            raise InputError(
                f"split {split!r} of {source.directory} has no annotations: build the dataset with "
                "them, or set data.eval_split to another"
            )
        key = source.name, split
        if key not in self._annotated:
            on_corrupt = self.config.data.on_corrupt
            self._annotated[key] = AnnotatedSplit(source.directory, split, on_corrupt)
        return self._annotated[key]

    def evaluation_batches(self, source: OpenDataset, split: str, layout: str):
        """Batches of a downstream task's pass over a split, and what is left out of them."""
        if layout == "corpus":
            clips = self._clips(source, split)
            return CorpusBatches(clips, self.config.batch, self._groups()), Report()
        annotated = self.annotated(source, split)
        if layout == "texts":
            return QueryTexts(annotated, self.config.batch, self._groups()), Report()
        layout = self._layout(layout)
        # A moment is described once, however many captions it has.
        units, left_out = annotated.units(
            layout.group,
            layout.most,
            lambda query: "",
            first_of_group=self.downstream is not None and self.downstream.layout == "captions",
        )
        return UnitBatches(annotated, units, layout, self.config.batch, self._groups()), left_out

    def source_batches(self, source: OpenDataset, split: str) -> Batches:
        """The batches of one source's split."""
        return self._batches(self._clips(source, split))

    def query_batches(self, source: OpenDataset, split: str) -> Batches | None:
        """The same with the split's annotated queries for queries, None if it has none."""
        if not source.metadata.queries.get(split):
            return None
        queries = QuerySplit(source.directory, split, self.config.data.on_corrupt)
        return self._batches(self._clips(source, split), queries)

    def _layout(self, name):
        return LAYOUTS[name](self.config.batch, self.metadata)

    def _clips(self, source, split):
        return Split(source.directory, split, self.config.data.on_corrupt)

    def _groups(self):
        return sharding.local_groups(self.mesh, self.config.batch.groups)

    def _batches(self, clips, queries=None):
        return Batches(clips, self.config.batch, self._groups(), queries)

    def with_split(self, split: str) -> list[OpenDataset]:
        """The sources that have a split; InputError if there is none."""
        found = [source for source in self.sources if split in source.metadata.clips]
        if not found:
            known = dict.fromkeys(name for source in self.sources for name in source.metadata.clips)
            raise InputError(
                f"dataset {' or '.join(str(source.directory) for source in self.sources)} has no "
                f"split {split!r}: set data.eval_split to one of {', '.join(known)}"
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
        return self.evaluation_batches(source, other, self.downstream.passes[0].layout)[0]

    def training_shares(self) -> list[dict[str, Any]]:
        """Returns names, numbers of clips and shares of the datasets that are trained on."""
        names = [source.name for source in self.sources]
        sizes = [source.metadata.clips[self.config.data.train_split] for source in self.sources]
        rows = zip(names, sizes, shares(self.config.data.weights, sizes), strict=True)
        return [{"name": name, "clips": size, "share": share} for name, size, share in rows]
