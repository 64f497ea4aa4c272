"""Inference: an exported model encodes clips and queries, answers, judges and describes."""

from hero_jax.inference.model import Answer, Model, load

__all__ = ["Answer", "Model", "load"]
