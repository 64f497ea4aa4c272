"""Scores of submissions, as VALUE's own program computes them.

All numbers are percentages. Each recall is rounded to two digits, then the number of each task,
then each average, so the last digit depends on this order.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.schema import RawQuery
from data.times import temporal_iou
from hero_jax.metrics.retrieval import AVERAGED, RECALLS
from hero_jax.value.files import Predictions, references, video_numbers
from hero_jax.value.tasks import GROUPS, TASKS, ValueTask

THRESHOLD = 0.7


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a submission.

    Attributes:
      details: every number of each task by its name; that which counts is `score`.
      not_scored: why other tasks have no scores, by name.
    """

    details: Mapping[str, Mapping[str, float]]
    not_scored: Mapping[str, str]

    @property
    def tasks(self) -> dict[str, float]:
        """Returns the number that counts of each task."""
        return {name: numbers["score"] for name, numbers in self.details.items()}

    @property
    def groups(self) -> dict[str, float]:
        """Returns the average of each group, 0 for one without a score."""
        scores = self.tasks
        of_group = {g: [s for n, s in scores.items() if TASKS[n].group == g] for g in GROUPS}
        return {group: _mean(values) for group, values in of_group.items()}

    @property
    def meta_average(self) -> float:
        """Returns the mean of the tasks: the paper's meta-average, if all eleven have scores."""
        return _mean([*self.tasks.values()])

    @property
    def program_average(self) -> float:
        """Returns the `average` of VALUE's scoring program.

        It is the mean of 14 numbers, because its list has the averages of the groups as well.
        """
        return _mean([*self.tasks.values(), *self.groups.values()])


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 2) if values else 0.0


def score_all(submission: Path, folder: Path, phase: str) -> Scores:
    """Scores the files of a submission that have references.

    Args:
      submission: folder of the submission.
      folder: folder of the published annotations, and of `TASK_video2dur_idx.json`.
      phase: 'val' or 'test'.

    Raises:
      InputError: a file cannot be read, or does not fit its references.
    """
    details, not_scored = {}, {}
    for name, task in TASKS.items():
        path = submission / task.file(phase)
        if not path.is_file():
            not_scored[name] = f"no {task.file(phase)}"
            continue
        queries = references(task, phase, folder)
        if queries is None:
            not_scored[name] = f"no labelled {name}_{task.splits[phase]}_release.jsonl in {folder}"
            continue
        details[name] = _score(task, Predictions(path), queries, folder)
    return Scores(details, not_scored)


def _score(
    task: ValueTask, predictions: Predictions, queries: Sequence[RawQuery], folder: Path
) -> dict[str, float]:
    if task.group == "qa":
        return _accuracy(predictions, queries)
    if task.group == "captioning":
        return _captions(predictions, queries)
    return _recalls(task, predictions, queries, video_numbers(task, folder))


def _recalls(
    task: ValueTask,
    predictions: Predictions,
    queries: Sequence[RawQuery],
    numbers: Mapping[str, int],
) -> dict[str, float]:
    """Returns the recalls in percent, of moments before those of clips; and the mean of three."""
    found: dict[str, float] = {}
    rankings = {name: predictions.rankings(name) for name in ("VCMR", "VR")[not task.has_moments :]}
    for name, ranked in rankings.items():
        predictions.check_ids({*ranked}, {query.query_id for query in queries}, f"{name} of query")
        right = []
        for query in queries:
            rows = ranked[query.query_id][: max(RECALLS)]
            number = _number_of(query, numbers, predictions)
            if name == "VR":
                right.append([_as_number(row, predictions) == number for row in rows])
            else:
                moment = np.array(query.moments[0])
                times = np.array([_as_moment(row, predictions) for row in rows]).reshape(-1, 3)
                overlaps = temporal_iou(times[:, 1:], moment) >= THRESHOLD
                right.append([*(overlaps & (times[:, 0] == number))])
        prefix = f"{name.lower()}_" + (f"{THRESHOLD}_" if name == "VCMR" else "")
        for k in RECALLS:
            found[f"{prefix}r{k}"] = round(100 * float(np.mean([any(one[:k]) for one in right])), 2)
        if "score" not in found:
            found["score"] = _mean([found[f"{prefix}r{k}"] for k in AVERAGED])
    return found


def _number_of(query: RawQuery, numbers: Mapping[str, int], predictions: Predictions) -> int:
    if query.clip_id not in numbers:
        raise predictions.error(
            f"query {query.query_id} is about {query.clip_id}, without a number"
        )
    return numbers[query.clip_id]


def _as_number(row: Any, predictions: Predictions) -> int:
    if type(row) is not int:
        raise predictions.error(f"VR has to hold numbers of videos, not {row!r}")
    return row


def _as_moment(row: Any, predictions: Predictions) -> tuple[float, float, float]:
    match row:
        case [int(number), (int() | float()) as start, (int() | float()) as end, *_]:
            return number, start, end
    raise predictions.error(f"VCMR has to hold [number of the video, start, end], not {row!r}")


def _accuracy(predictions: Predictions, queries: Sequence[RawQuery]) -> dict[str, float]:
    answers = predictions.object()
    predictions.check_ids({*answers}, {query.query_id for query in queries}, "question")
    right = sum(answers[query.query_id] == query.label for query in queries)
    return {"score": round(100 * right / len(queries), 2)}


def _captions(predictions: Predictions, queries: Sequence[RawQuery]) -> dict[str, float]:
    # Imported here, because the other scores do not need the metrics' packages.
    from hero_jax.metrics import captions

    written = predictions.captions()
    texts: dict[str, list[str]] = {}
    for query in queries:
        texts.setdefault(query.group, []).append(query.text)
    predictions.check_ids({*written}, {*texts}, "clip")
    scores = captions.score(texts, written)
    found = {name: round(100 * value, 2) for name, value in scores.items()}
    return {**found, "score": found["cider"]}
