"""HERO in JAX: training, inference, search, and features of films."""

__version__ = "0.1.0"
