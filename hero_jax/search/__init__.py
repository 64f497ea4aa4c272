"""Search: builds an index of videos with a model, and finds moments in it."""

from hero_jax.search.engine import add_clips, build_index, search
from hero_jax.search.found import FoundMoment

__all__ = ["FoundMoment", "add_clips", "build_index", "search"]
