"""The index: clips that can be searched, on disk; NumPy only."""

from hero_jax.index.entries import Entry, IndexedClip, Line
from hero_jax.index.filters import among
from hero_jax.index.index import Index
from hero_jax.index.manifest import DTYPES, FORMAT_VERSION
from hero_jax.index.migration import migrate
from hero_jax.index.protocol import Snapshot, StoreWriter
from hero_jax.index.stores import STORES, create, exists, open_index, open_writer
from hero_jax.index.writer import Writer

__all__ = [
    "DTYPES",
    "FORMAT_VERSION",
    "STORES",
    "Entry",
    "Index",
    "IndexedClip",
    "Line",
    "Snapshot",
    "StoreWriter",
    "Writer",
    "among",
    "create",
    "exists",
    "migrate",
    "open_index",
    "open_writer",
]
