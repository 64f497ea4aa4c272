"""Tasks that search a corpus: a split's clips and queries are encoded, then ranked.

Moment retrieval (TVR, How2R, DiDeMo, QVHighlights) answers three questions with one ranking: the
moment in the corpus (VCMR), the moment in a known clip (SVMR), the clip (VR). Video retrieval
(MSR-VTT) answers the last.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data.pipeline.clips import CorpusClips
from data.pipeline.retrieval import QueryTexts, Retrieval, WindowRetrieval
from data.pipeline.units import AnnotatedSplit
from data.report import Report
from data.schema import Query
from hero_jax.metrics import retrieval, windows
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.retrieval import ranking
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.results import Moments, Ranking
from hero_jax.tasks.base import Context, Loss, Pass, Task, Tokens
from hero_jax.tasks.matching import (
    MatchingSettings,
    RankingLossSettings,
    encode_queries,
    matching_losses,
    weigh,
    weigh_ranking,
)
from hero_jax.tasks.work import Work

# Our names of splits, as QVHighlights has them in the names of files.
BENCHMARK_SPLITS = {"validation": "val"}


class Search(Task):
    """Base of the tasks of retrieval: all but the loss and the ranking.

    Attributes:
      file: name of the file of predictions.
    """

    layout = Retrieval
    query_type = "query"
    trains_search = True
    file = ""

    @property
    def suppressed(self) -> bool:
        """True if the file of predictions has moments after non-maximum suppression."""
        return False

    @property
    def several_moments(self) -> str:
        """Returns how several moments of a query are read; see `MomentRetrievalSettings`."""
        return "annotators"

    def products(self, work: Work) -> float:
        return work.clips + work.queries

    @property
    def passes(self) -> Sequence[Pass]:
        return [Pass(CorpusClips, self.predict_clips), Pass(QueryTexts, self.predict_queries)]

    def predict_clips(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        """Returns the encoded clips of a batch, in the model's own precision."""
        frames = model.encode_clips(batch)
        return {
            "frames": frames.astype(model.temporal.dtype),
            "num_frames": batch["num_frames"],
            "clip_numbers": batch["clip_numbers"],
        }

    def predict_queries(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        """Returns the query vectors of a batch."""
        return {
            "queries": encode_queries(model, batch, None).astype(jnp.float32),
            "query_numbers": batch["query_numbers"],
            "query_mask": batch["query_mask"],
        }

    def complete(
        self, model: HERO, predictions: dict, split: AnnotatedSplit, mesh: jax.sharding.Mesh
    ) -> dict:
        """Returns the ranking, and the numbers of the records it ranks.

        Where damaged clips are skipped, queries about them are left out, and counted.
        """
        queries, query_numbers, corpus, clip_numbers = ordered(predictions, mesh)
        if len(clip_numbers) < len(split.clip_ids):
            readable = has_readable_clip(query_numbers, clip_numbers, split)
            queries, query_numbers = queries[readable], query_numbers[readable]
        numbers = {"query_numbers": query_numbers, "clip_numbers": clip_numbers}
        own_clip = retrieval.ground_truth_clips(*queries_and_clips(numbers, split))
        return {**numbers, "ranking": self.rank(model, queries, corpus, own_clip)}

    def rank(
        self, model: HERO, queries: np.ndarray, corpus: ranking.Corpus, own_clip: np.ndarray
    ) -> Ranking:
        """Returns the ranking of queries; see `hero_jax.retrieval.ranking`."""
        raise NotImplementedError

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        assert split is not None
        queries, clip_ids = queries_and_clips(predictions, split)
        metrics = retrieval.metrics(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
            several_moments=self.several_moments,
        )
        return {**metrics, **retrieval.averages(metrics), "clips": len(clip_ids)}

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns TVR's form: `video2idx`, `VR`, and with ranked moments `VCMR` and `SVMR`."""
        queries, clip_ids = queries_and_clips(predictions, split)
        text = retrieval.submission(
            predictions["ranking"],
            queries,
            clip_ids,
            seconds_per_feature=split.metadata.seconds_per_feature,
            suppressed=self.suppressed,
        )
        return {self.file: text}


def ordered(
    predictions: dict, mesh: jax.sharding.Mesh
) -> tuple[np.ndarray, np.ndarray, ranking.Corpus, np.ndarray]:
    """Returns queries and clips of a whole split in the order of their records.

    Returns:
      query vectors `[N, H]`, numbers of the queries `[N]`, `Corpus` of C clips, numbers of the
      clips `[C]`.
    """
    queries, query_numbers = ordered_queries(predictions)
    frames, num_frames, clip_numbers = ordered_clips(predictions)
    return queries, query_numbers, ranking.Corpus(frames, num_frames, mesh), clip_numbers


def ordered_queries(predictions: dict) -> tuple[np.ndarray, np.ndarray]:
    """Returns query vectors `[N, H]` and numbers `[N]` of a whole split, in order of the latter."""
    is_query = predictions["query_mask"]
    numbers = predictions["query_numbers"][is_query]
    order = np.argsort(numbers)
    return predictions["queries"][is_query][order], numbers[order]


def ordered_clips(predictions: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the clips of a whole split in the order of their records.

    Returns:
      frames `[C, F, H]`, their numbers in a clip `[C]`, and numbers of the clips `[C]`.
    """
    is_clip = predictions["num_frames"] > 0
    numbers = predictions["clip_numbers"][is_clip]
    order = np.argsort(numbers)
    frames, num_frames = (predictions[name][is_clip][order] for name in ("frames", "num_frames"))
    return frames, num_frames, numbers[order]


def has_readable_clip(
    query_numbers: np.ndarray, clip_numbers: np.ndarray, split: AnnotatedSplit
) -> np.ndarray:
    """Returns `[N]` bool, False for queries about a clip that could not be read; reports them."""
    readable, lost = {split.clip_ids[number] for number in clip_numbers.tolist()}, Report()
    queries = [split.queries[number] for number in query_numbers.tolist()]
    kept = np.array([not query.clip_id or query.clip_id in readable for query in queries])
    for query in itertools.compress(queries, ~kept):
        lost.add("queries about damaged clips", query.query_id)
    if jax.process_index() == 0:
        lost.tell("not predicted")
    return kept


def queries_and_clips(numbers: dict, split: AnnotatedSplit) -> tuple[Sequence[Query], list[str]]:
    """Returns the queries of records, and the ids of the clips that were searched, in order."""
    queries = [split.queries[number] for number in numbers["query_numbers"].tolist()]
    return queries, [split.clip_ids[number] for number in numbers["clip_numbers"].tolist()]


@dataclasses.dataclass(frozen=True)
class MomentRetrievalSettings(RankingSettings, MatchingSettings):
    """Settings of moment retrieval: of its losses and of its ranking.

    Attributes:
      several_moments: one of `hero_jax.metrics.retrieval.SEVERAL_MOMENTS`: what several moments of
        one query are. With 'windows', metrics and predictions are also those of QVHighlights. It
        is a setting because a dataset of several annotators cannot be told from one of windows.
    """

    several_moments: str = "annotators"

    def __post_init__(self):
        meanings = retrieval.SEVERAL_MOMENTS
        self.require(
            "several_moments", self.several_moments in meanings, f"one of {', '.join(meanings)}"
        )
        MatchingSettings.__post_init__(self)
        RankingSettings.__post_init__(self)


class MomentRetrieval(Search):
    """Finds the clip of a corpus, and the moment in it, that a sentence describes."""

    Settings = MomentRetrievalSettings
    file = "moments.json"
    search_priority = 2

    def __init__(
        self, settings: MomentRetrievalSettings, tokens: Tokens, name: str = "", kind: str = ""
    ):
        super().__init__(settings, tokens, name, kind)
        if self.several_moments == "windows":
            self.layout = WindowRetrieval

    @property
    def suppressed(self) -> bool:
        return self.settings.nms_iou > 0

    @property
    def several_moments(self) -> str:
        return self.settings.several_moments

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        losses, metrics = matching_losses(model, batch, context, self.settings)
        return weigh(losses, metrics, context, self.settings)

    def rank(
        self, model: HERO, queries: np.ndarray, corpus: ranking.Corpus, own_clip: np.ndarray
    ) -> Ranking:
        return ranking.rank(model.span_head, queries, corpus, self.settings, own_clip)

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        results = super().summarize(predictions, split)
        if split is not None and self.several_moments == "windows":
            results |= windows.metrics(*self._windows(predictions, split))
        return results

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns TVR's form; where several moments are windows, that of QVHighlights as well."""
        files = super().submission(predictions, split)
        if self.several_moments == "windows":
            name = BENCHMARK_SPLITS.get(split.name, split.name)
            text = windows.submission(*self._windows(predictions, split))
            files |= {f"hl_{name}_submission.jsonl": text}
        return files

    def _windows(
        self, predictions: dict, split: AnnotatedSplit
    ) -> tuple[Moments, Sequence[Query], float]:
        """Returns the moments in the queries' own clips, the queries, and the frame rate."""
        queries, _ = queries_and_clips(predictions, split)
        ranking = predictions["ranking"]
        moments = ranking.svmr_nms if self.suppressed else ranking.svmr
        return moments, queries, split.metadata.seconds_per_feature


@dataclasses.dataclass(frozen=True)
class VideoRetrievalSettings(RankingLossSettings):
    """Settings of video retrieval.

    Attributes:
      top_clips: clips of a query's ranking.
      temperature: of clip scores.
    """

    top_clips: int = 100
    temperature: float = 20.0

    def __post_init__(self):
        super().__post_init__()
        # These two have the ranges that they have where moments are ranked as well.
        RankingSettings(top_clips=self.top_clips, temperature=self.temperature)


class VideoRetrieval(Search):
    """Finds the clip of a corpus that a sentence describes."""

    Settings = VideoRetrievalSettings
    file = "clips.json"
    search_priority = 1

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        losses, metrics = matching_losses(model, batch, context, self.settings)
        return weigh_ranking(losses, metrics, context, self.settings)

    def rank(
        self, model: HERO, queries: np.ndarray, corpus: ranking.Corpus, own_clip: np.ndarray
    ) -> Ranking:
        del model, own_clip
        settings = self.settings
        return ranking.rank_clips(
            queries, corpus, top_clips=settings.top_clips, temperature=settings.temperature
        )
