"""LMDB environments: read as LMDB itself reads them, and damaged ones, on which it would crash."""

import random
import struct
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sources.original.environment import Environment
from tests.data.sources.original.original_samples import LAYOUT, needs_shared, write_lmdb

PAGE = 4096


def by_lmdb(folder: Path) -> dict[bytes, bytes]:
    with (
        lmdb.open(str(folder), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        return dict(transaction.cursor())


def assert_same(folder: Path) -> None:
    expected = by_lmdb(folder)
    with Environment(folder / "data.mdb") as environment:
        assert environment.keys() == [*expected]
        assert dict(environment.items()) == expected
        sample = random.Random(0).sample([*expected], min(len(expected), 50))
        for key in [*sample, b"", b"a", b"\xff" * 9, *(key + b"\0" for key in sample)]:
            assert environment.get(key) == expected.get(key), key


@needs_shared
def test_databases_of_the_original_are_read_as_lmdb_reads_them():
    folders = [file.parent for file in LAYOUT.rglob("data.mdb")]
    assert len(folders) == 4
    for folder in folders:
        assert_same(folder)


KEYS = st.binary(min_size=1, max_size=511)
LENGTHS = st.one_of(st.integers(0, 100), st.integers(1500, 3000), st.integers(0, 5 * PAGE))


@settings(max_examples=25, deadline=None)
@given(
    commits=st.lists(
        st.dictionaries(KEYS, st.one_of(st.none(), LENGTHS), max_size=30), min_size=1, max_size=4
    )
)
def test_what_lmdb_wrote_and_deleted_is_read(tmp_path_factory, commits):
    folder = tmp_path_factory.mktemp("written")
    with lmdb.open(str(folder), map_size=2**26) as environment:
        for number, commit in enumerate(commits):
            with environment.begin(write=True) as transaction:
                for key, length in commit.items():
                    if length is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, bytes([number]) * length)
    assert_same(folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An environment whose tree has three levels, with values of all lengths."""
    folder = tmp_path_factory.mktemp("large")
    rng = random.Random(0)
    write_lmdb(
        folder,
        {rng.randbytes(rng.randint(20, 400)): rng.randbytes(number % 2500) for number in range(999)}
        | {b"long": rng.randbytes(3 * PAGE)},
    )
    return folder


def test_a_tree_of_several_levels_is_read(large):
    with lmdb.open(str(large), readonly=True, lock=False) as environment:
        assert environment.stat()["depth"] >= 3
    assert_same(large)


def read_damaged(path: Path, content: bytes, keys: list[bytes]) -> None:
    """Reads all that there is; raises ValueError for what cannot be read."""
    path.write_bytes(content)
    with Environment(path) as environment:
        for key in keys:
            environment.get(key)
        environment.keys()
        total = sum(len(key) + len(value) for key, value in environment.items())
        assert total < len(content)


def test_damage_is_an_error_or_changes_values_only(large, tmp_path):
    content = (large / "data.mdb").read_bytes()
    keys = [*by_lmdb(large)][::100]
    rng, refused = random.Random(0), 0
    heads = [page + place for page in range(0, len(content), PAGE) for place in range(0, 40, 2)]
    for place in rng.sample(heads, 60):
        for value in (b"\0\0", b"\xff\xff", rng.randbytes(2)):
            try:
                changed = content[:place] + value + content[place + 2 :]
                read_damaged(tmp_path / "data.mdb", changed, keys)
            except ValueError:
                refused += 1
    assert refused > 60


def page_of(content: bytes, kind: int) -> int:
    """Returns the number of the first page of a kind."""
    pages = range(2, len(content) // PAGE)
    return next(n for n in pages if struct.unpack_from("<QHH", content, n * PAGE) == (n, 0, kind))


def put(content: bytes, place: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, place, value)
    return bytes(changed)


def test_says_what_is_wrong_with_a_file(large, tmp_path):
    content = (large / "data.mdb").read_bytes()
    branch, leaf = (page_of(content, kind) * PAGE for kind in (1, 2))
    first_node = struct.unpack_from("<H", content, leaf + 16)[0] + leaf
    child = struct.unpack_from("<H", content, branch + 16)[0] + branch
    of_last = 16 + 24 + 48
    # The first transaction was written to the second page.
    newer = PAGE
    for changed, said in (
        (put(content, 16, "<I", 1), "no file of LMDB"),
        (put(content, 20, "<I", 2), "version 2 of LMDB's format instead of 1"),
        (put(content, 40, "<I", 4097), "pages of 4097 bytes"),
        (put(content, newer + of_last + 4, "<H", 4), "of another kind"),
        (put(content, newer + of_last + 6, "<H", 99), "is damaged or of another kind"),
        (put(content, newer + of_last + 32, "<Q", 9), r"it has 1000 of its 9 values"),
        (content[:-PAGE], r"it has \d+ of its \d+ bytes"),
        (put(content, leaf + 12, "<H", PAGE - 2), f"its page {leaf // PAGE} is damaged"),
        (put(content, first_node + 6, "<H", 60_000), f"its page {leaf // PAGE} is damaged"),
        (put(content, child, "<H", 0), "it has no page 0"),
        (put(content, child, "<H", branch // PAGE), f"its page {branch // PAGE} is damaged"),
    ):
        with pytest.raises(ValueError, match=said):
            read_damaged(tmp_path / "data.mdb", changed, [])


def test_a_long_value_of_two_keys_is_refused(tmp_path):
    write_lmdb(tmp_path, {"a": bytes(3 * PAGE), "b": bytes(3 * PAGE)})
    content = (tmp_path / "data.mdb").read_bytes()
    leaf = page_of(content, 2) * PAGE
    a, b = (struct.unpack_from("<H", content, leaf + 16 + 2 * n)[0] + leaf + 9 for n in range(2))
    same = put(content, b, "<Q", struct.unpack_from("<Q", content, a)[0])
    with pytest.raises(ValueError, match=r"page \d+, or one that it names, is used twice"):
        read_damaged(tmp_path / "data.mdb", same, [])
