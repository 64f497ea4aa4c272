"""Zip archives whose directory is damaged."""

import io
import struct
import zipfile

import pytest

from data.zip_files import open_zip


def test_a_member_that_does_not_lie_in_the_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"12345")
    with open_zip(stream) as archive:
        assert archive.read("a") == b"12345"
    content = stream.getvalue()
    # The compressed size in the directory, after which the size itself follows.
    place = content.index(b"PK\1\2") + 20
    assert content[place : place + 4] == struct.pack("<I", 5)
    damaged = content[:place] + struct.pack("<I", 1 << 30) + content[place + 4 :]
    with pytest.raises(zipfile.BadZipFile, match="longer than the archive"):
        open_zip(io.BytesIO(damaged))
