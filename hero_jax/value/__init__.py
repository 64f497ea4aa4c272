"""The VALUE benchmark: its tasks, the scores of submissions, and submissions made of runs."""

from hero_jax.value.scores import Scores, score_all
from hero_jax.value.submission import submit
from hero_jax.value.tasks import TASKS

__all__ = ["TASKS", "Scores", "score_all", "submit"]
