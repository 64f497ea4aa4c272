"""The index: clips that can be searched, on disk."""

from hero_jax.index.entries import Entry, IndexedClip, Line
from hero_jax.index.files import DTYPES, FORMAT_VERSION
from hero_jax.index.index import Index, Writer, create

__all__ = ["DTYPES", "FORMAT_VERSION", "Entry", "Index", "IndexedClip", "Line", "Writer", "create"]
