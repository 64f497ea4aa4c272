"""Inference: an exported model encodes clips and queries, answers, judges and describes."""

from hero_jax.inference.model import Model, load
from hero_jax.tasks.question_answering import Answer

__all__ = ["Answer", "Model", "load"]
