"""The index: clips that can be searched, on disk; NumPy only."""

from hero_jax.index.entries import Entry, IndexedClip, Line
from hero_jax.index.index import Index
from hero_jax.index.manifest import DTYPES, FORMAT_VERSION
from hero_jax.index.writer import Writer, create

__all__ = ["DTYPES", "FORMAT_VERSION", "Entry", "Index", "IndexedClip", "Line", "Writer", "create"]
