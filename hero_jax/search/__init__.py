"""Search: builds an index of videos with a model, and finds moments in it."""

from hero_jax.search.engine import FoundMoment, add_clips, build_index, search

__all__ = ["FoundMoment", "add_clips", "build_index", "search"]
