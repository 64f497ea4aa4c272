"""Tasks that read the same batches: their datasets, checks and batches."""

from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.errors import InputError
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.clips import Clips
from data.pipeline.layout import Layout
from data.pipeline.mixture import Mixture, shares
from data.pipeline.units import AnnotatedSplit
from data.records.reader import QuerySplit, Split
from data.report import Report
from hero_jax.division import divide
from hero_jax.experiment import config_checks
from hero_jax.experiment.compatibility import check_identity, identity
from hero_jax.experiment.config_checks import check_batch, settle_segments
from hero_jax.experiment.datasets import OpenDataset, check_data, open_dataset
from hero_jax.tasks.base import Task, Tokens
from hero_jax.tasks.registry import make_tasks


class TaskGroup:
    """Tasks that are trained on the same batches, and the data of these batches.

    Attributes:
      name: of the part of the config; '' if it has none.
      division: of its batches over the mesh.
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
        self.division = divide(mesh, config)
        settle_segments(config)
        self.tasks = make_tasks(config, self._tokens(), name)
        for each in self.tasks.values():
            each.check(config.batch, self.division.shards.count)
        self.downstream = next((task for task in self.tasks.values() if task.downstream), None)
        self.left_out = Report()
        if self.downstream:
            self._check_downstream(self.downstream)
        task = self.downstream
        check_batch(config, task.layout if task else Clips, task.kind if task else "")
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
        """Returns the batches to train on, of this process's groups.

        Raises:
          InputError: the split has nothing to train on.
        """
        if self.downstream is None:
            clips = {source.name: self._clips(source, split) for source in self.sources}
            return self._clip_batches(Mixture(clips, self.config.data.weights))
        layout = self.downstream.layout(self.config.batch, self.metadata)
        items = layout.items(self._data(layout, self.sources[0], split), training=True)
        self.left_out = items.left_out
        if not len(items):
            reasons = "; ".join(self.left_out.lines()) or "it has none"
            raise InputError(
                f"split {split!r} of {self.sources[0].directory} has no query to train on: "
                f"{reasons}"
            )
        return Batches(layout, items, self._groups())

    def annotated(self, source: OpenDataset, split: str) -> AnnotatedSplit:
        """Returns clips and queries of a split.

        Raises:
          InputError: it has no queries.
        """
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

    def evaluation_batches(
        self, source: OpenDataset, split: str, layout: type[Layout]
    ) -> tuple[Batches, Report]:
        """Returns the batches of a task's pass over a split, and what is left out of them."""
        made = layout(self.config.batch, self.metadata)
        items = made.items(self._data(made, source, split), training=False)
        return Batches(made, items, self._groups()), items.left_out

    def source_batches(self, source: OpenDataset, split: str) -> Batches:
        """Returns the batches of one dataset's split in pre-training."""
        return self._clip_batches(self._clips(source, split))

    def query_batches(self, source: OpenDataset, split: str) -> Batches | None:
        """Returns the same with the split's annotated queries, None if it has none."""
        if not source.metadata.queries.get(split):
            return None
        queries = QuerySplit(source.directory, split, self.config.data.on_corrupt)
        return self._clip_batches(self._clips(source, split), queries)

    def _data(self, layout: Layout, source: OpenDataset, split: str) -> AnnotatedSplit | Split:
        """Returns what a layout's `items` takes."""
        return (self.annotated if layout.annotated else self._clips)(source, split)

    def _clips(self, source: OpenDataset, split: str) -> Split:
        return Split(source.directory, split, self.config.data.on_corrupt)

    def _groups(self) -> range:
        return self.division.local_groups

    def _clip_batches(self, clips: Split | Mixture, queries: QuerySplit | None = None) -> Batches:
        layout = Clips(self.config.batch, clips.metadata, queries)
        return Batches(layout, layout.items(clips, training=True), self._groups())

    def with_split(self, split: str) -> list[OpenDataset]:
        """Returns the datasets that have a split.

        Raises:
          InputError: none has it.
        """
        sources = [source for source in self.sources if split in source.metadata.clips]
        if not sources:
            known = dict.fromkeys(name for source in self.sources for name in source.metadata.clips)
            raise InputError(
                f"dataset {' or '.join(str(source.directory) for source in self.sources)} has no "
                f"split {split!r}: set data.eval_split to one of {', '.join(known)}"
            )
        return sources

    def _find_rows(self) -> None:
        """Fills in the numbers of rows that the config leaves open."""
        batch = self.config.batch
        batch.frame_row_length = batch.frame_row_length or batch.max_frames
        fields = "rows_per_group", "query_rows_per_group", "frame_rows_per_group"
        if not all(batch[name] for name in fields):
            fitting = fitting_rows(self._typical_batches())
            batch.update({name: batch[name] or n for name, n in zip(fields, fitting, strict=True)})

    def _typical_batches(self) -> Batches:
        """Returns batches of the training split if all datasets have it."""
        train, other = self.config.data.train_split, self.config.data.eval_split
        if all(train in source.metadata.clips for source in self.sources):
            return self.batches(train)
        source = self.with_split(other)[0]
        if self.downstream is None:
            return self.source_batches(source, other)
        # Texts alone have no clips to be packed with, but the first pass has clips.
        return self.evaluation_batches(source, other, self.downstream.passes[0].layout)[0]

    def training_shares(self) -> list[dict[str, Any]]:
        """Returns names, numbers of clips and shares of the datasets that are trained on."""
        names = [source.name for source in self.sources]
        sizes = [source.metadata.clips[self.config.data.train_split] for source in self.sources]
        rows = zip(names, sizes, shares(self.config.data.weights, sizes), strict=True)
        return [{"name": name, "clips": size, "share": share} for name, size, share in rows]
