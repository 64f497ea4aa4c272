"""Arrays of NumPy's format, whole and damaged."""

import io
import zipfile

import numpy as np
import pytest

from data.arrays import read_array, read_header

ARRAY = np.arange(6, dtype=np.float16).reshape(2, 3)


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("array", [ARRAY, ARRAY.T, ARRAY[:0], np.float32(3)], ids=np.shape)
def test_reads_files_and_members(array):
    stream = io.BytesIO(b"before" + saved(array))
    stream.seek(6)
    assert read_header(stream) == (array.shape, array.dtype)
    stream.seek(6)
    np.testing.assert_array_equal(read_array(stream), array, strict=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("a.npy", saved(array))
    with zipfile.ZipFile(archive) as members, members.open("a.npy") as member:
        np.testing.assert_array_equal(read_array(member), array, strict=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"(2, 3)", b"(2, 3 ", "its header is damaged"),
        (b"'<f2'", b"'<f2 ", "header"),
        (b"(2, 3)", b"(-2,3)", "its shape is"),
        (b"(2, 3), }" + b" " * 30, b"(" + b"9" * 30 + b",), }   ", "it has 12 bytes"),
        (b"(2, 3)", b"(2, 9)", "it has 12 bytes of values instead of 36"),
        (b"'<f2'", b"'|O' ", "allow_pickle"),
        (b"NUMPY", b"numpy", "magic"),
        (b"NUMPY\1\0v\0{'d", b"NUMPY\2\0\xff\xff\xff\x0f", "EOF"),
    ],
)
def test_refuses_what_is_damaged(old, new, message):
    content = saved(ARRAY)
    assert old in content
    with pytest.raises(ValueError, match=message):
        read_array(io.BytesIO(content.replace(old, new)))
