"""Reads LMDB environments, damaged ones too.

LMDB itself maps the file into memory and follows the numbers of pages in it unchecked, so that one
damaged byte can end the process. Here each page is checked when it is read, and nothing is mapped.

The file is that of LMDB 0.9 on 64-bit little-endian machines. It consists of pages. The first two
describe the environment, and the newer of them counts: it names the root of a tree whose keys are
in order. A branch page holds the numbers of its children, each with the least key in it (which the
first child lacks), a leaf page holds keys and values. Long values fill pages of their own.
"""

import bisect
import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_MAGIC = 0xBEEFC0DE
_VERSION = 1
# Number of the page, padding, kind, end of the nodes' places, begin of the nodes.
_PAGE = struct.Struct("<QHHHH")
# Number, padding, kind, and number of pages of a long value.
_LONG = struct.Struct("<QHHI")
# Magic number, version, address, size of the map, two trees (of free pages and of the values), last
# page, number of the transaction.
_META = struct.Struct("<IIQQ48s48sQQ")
# Size of a page (of the first tree), flags, depth, numbers of branch, leaf and overflow pages,
# number of values, root.
_TREE = struct.Struct("<IHHQQQQQ")
# Length of the value or number of the child, in 16 bits each; flags or its highest bits; length of
# the key.
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_KINDS = 0x6F
# Flag of a node whose value is the number of the first of its own pages.
_IS_LONG = 1
_NO_PAGE = 2**64 - 1
_DEEPEST = 32
_PAGE_SIZES = [2**power for power in range(8, 17)]


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """A key, and its value or the first page and the length of it."""

    key: bytes
    value: bytes
    length: int
    page: int | None


class Environment:
    """The values of an environment by key; use it in a `with` statement."""

    def __init__(self, path: Path):
        """Opens the file of an environment.

        Raises:
          ValueError: it is no such file, or is cut short or damaged.
          OSError: it cannot be read.
        """
        self._file = path.open("rb")
        try:
            self._read_meta()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_meta(self) -> None:
        size = self._file.seek(0, 2)
        first, self._page_size = self._meta(0)
        if self._page_size not in _PAGE_SIZES:
            raise ValueError(f"it has pages of {self._page_size} bytes")
        second, _ = self._meta(self._page_size)
        newer = second if second[-1] > first[-1] else first
        tree, self._last_page, _ = newer
        _, flags, self._depth, *_, self._entries, self._root = _TREE.unpack(tree)
        if flags or (self._depth == 0) != (self._root == _NO_PAGE) or self._depth > _DEEPEST:
            raise ValueError("the description of its tree is damaged or of another kind")
        needed = (self._last_page + 1) * self._page_size
        if size < needed:
            raise ValueError(f"it has {size} of its {needed} bytes")

    def _meta(self, place: int) -> tuple[tuple[bytes, int, int], int]:
        """Returns tree, last page and transaction that a page describes, and the pages' size."""
        content = self._bytes(place, _PAGE.size + _META.size)
        kind = _PAGE.unpack_from(content)[2]
        magic, version, _, _, free, tree, last, transaction = _META.unpack_from(content, _PAGE.size)
        if kind & _KINDS != _META_PAGE or magic != _MAGIC:
            raise ValueError("it is no file of LMDB, or was written by another kind of machine")
        if version != _VERSION:
            raise ValueError(f"it has version {version} of LMDB's format instead of {_VERSION}")
        return (tree, last, transaction), _TREE.unpack(free)[0]

    def keys(self) -> list[bytes]:
        """Returns all keys, in order.

        Raises:
          ValueError: a page is damaged.
        """
        return [leaf.key for leaf in self._leaves()]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields all keys, in order, with their values; raises the same as `keys`."""
        for leaf in self._leaves():
            yield leaf.key, self._value(leaf)

    def get(self, key: bytes) -> bytes | None:
        """Returns the value of a key, None if there is none; raises the same as `keys`."""
        page = self._root
        for _ in range(self._depth - 1):
            children = self._branch(page)
            page = children[bisect.bisect([least for least, _ in children[1:]], key)][1]
        for leaf in self._leaf(page) if self._depth else ():
            if leaf.key == key:
                return self._value(leaf)
        return None

    def _leaves(self) -> Iterator[_Leaf]:
        """Yields all keys, and checks that no page is used twice and that no key is missing."""
        waiting = [(self._root, self._depth)] if self._depth else []
        seen: set[int] = set()
        before, count = None, 0
        while waiting:
            page, depth = waiting.pop()
            pages = [page]
            if depth > 1:
                waiting += [(child, depth - 1) for _, child in reversed(self._branch(page))]
            for leaf in self._leaf(page) if depth == 1 else ():
                if before is not None and leaf.key <= before:
                    raise ValueError(f"page {page} has keys that are not in order")
                pages += [] if leaf.page is None else [leaf.page]
                before, count = leaf.key, count + 1
                yield leaf
            if not seen.isdisjoint(pages) or len({*pages}) < len(pages):
                raise ValueError(f"page {page}, or one that it names, is used twice")
            seen.update(pages)
        if count != self._entries:
            raise ValueError(f"it has {count} of its {self._entries} values")

    def _branch(self, number: int) -> list[tuple[bytes, int]]:
        """Returns the least key, which the first lacks, and the number of each child of a page."""
        children = [
            (key, low | high << 16 | flags << 32)
            for low, high, flags, key, _ in self._nodes(number, _BRANCH)
        ]
        if not children:
            raise _damaged(number)
        return children

    def _leaf(self, number: int) -> Iterator[_Leaf]:
        for low, high, flags, key, rest in self._nodes(number, _LEAF):
            length = low | high << 16
            stored = 8 if flags & _IS_LONG else length
            if len(rest) < stored:
                raise _damaged(number)
            page = int.from_bytes(rest[:8], "little") if flags & _IS_LONG else None
            yield _Leaf(key, bytes(rest[:stored]), length, page)

    def _nodes(self, number: int, kind: int) -> Iterator[tuple[int, int, int, bytes, memoryview]]:
        """Yields the header of each node of a page, its key, and the page after the key."""
        if not 2 <= number <= self._last_page:
            raise ValueError(f"it has no page {number}, which another page names")
        content = memoryview(self._bytes(number * self._page_size, self._page_size))
        own, _, kinds, end, begin = _PAGE.unpack_from(content)
        if own != number or kinds & _KINDS != kind or not _PAGE.size <= end <= begin or end % 2:
            raise _damaged(number)
        # Nodes cannot be more, or begin before, than there is room for in the page.
        if begin > self._page_size:
            raise _damaged(number)
        for (place,) in struct.iter_unpack("<H", content[_PAGE.size : end]):
            if not begin <= place <= self._page_size - _NODE.size:
                raise _damaged(number)
            *header, key_length = _NODE.unpack_from(content, place)
            place += _NODE.size
            key = bytes(content[place : place + key_length])
            if len(key) < key_length:
                raise _damaged(number)
            low, high, flags = header
            yield low, high, flags, key, content[place + key_length :]

    def _value(self, leaf: _Leaf) -> bytes:
        number = leaf.page
        if number is None:
            return leaf.value
        if not 2 <= number <= self._last_page:
            raise ValueError(f"it has no page {number}, which another page names")
        place = number * self._page_size
        own, _, kinds, pages = _LONG.unpack(self._bytes(place, _LONG.size))
        needed = (_LONG.size + leaf.length - 1) // self._page_size + 1
        if (
            own != number
            or kinds & _KINDS != _OVERFLOW
            or not needed <= pages <= self._last_page - number + 1
        ):
            raise _damaged(number)
        return self._bytes(place + _LONG.size, leaf.length)

    def _bytes(self, place: int, length: int) -> bytes:
        self._file.seek(place)
        content = self._file.read(length)
        if len(content) < length:
            raise ValueError(f"it ends after {place + len(content)} bytes")
        return content


def _damaged(number: int) -> ValueError:
    return ValueError(f"its page {number} is damaged")
