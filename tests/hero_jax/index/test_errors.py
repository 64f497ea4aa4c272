"""Errors of an index: each message names the problem, and nothing is changed."""

import dataclasses
import json
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.index import Index, Line, Writer, create
from tests.hero_jax.index.index_samples import MODEL, WIDTH, content, entry, files, filled, make
from tests.paths import ROOT


def refusal(action, *arguments, **named) -> str:
    with pytest.raises(InputError) as caught:
        action(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(**fields):
    return dataclasses.replace(entry("clip 7", 0), **fields)


WRONG = {
    "width": (changed(frames=np.zeros((2, WIDTH + 1), np.float32)), r"shape \[2, 4\].*, 3\]"),
    "dimensions": (changed(frames=np.zeros(WIDTH, np.float32)), r"shape \[3\]"),
    "no frames": (changed(frames=np.zeros((0, WIDTH), np.float32)), "has 0 frames"),
    "too long": (changed(frames=np.zeros((5, WIDTH), np.float32)), "has 5 frames.*1 to 4"),
    "integers": (changed(frames=np.zeros((1, WIDTH), np.int32)), "in int32"),
    "another dtype": (changed(frames=np.zeros((1, WIDTH), "bfloat16")), "in bfloat16"),
    "nan": (changed(frames=np.full((1, WIDTH), np.nan, np.float32)), "not finite"),
    "infinite": (changed(frames=np.full((1, WIDTH), -np.inf, np.float16)), "not finite"),
    "out of range": (
        changed(frames=np.full((1, WIDTH), 1e5, np.float32)),
        "beyond the range of float16",
    ),
    "start": (changed(start=float("nan")), "a finite number"),
    "line": (changed(lines=(Line(0, float("inf"), ""),)), "a finite number"),
    "text": (changed(lines=(Line(0, 1, "\ud800"),)), "in UTF-8"),
    "id": (changed(clip_id="clip 7\ud800"), "in UTF-8"),
    "empty id": (changed(clip_id="", video_id="clip 7"), "empty id"),
    "twice": (changed(), "there twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_clip_is_named_and_nothing_changes(tmp_path, name):
    wrong, reason = WRONG[name]
    expected = filled(tmp_path, "abc", "d")
    before = files(tmp_path)
    good = entry("clip 7" if name == "twice" else "a", 5)
    with Writer(tmp_path) as writer:
        with pytest.raises(InputError, match=f"clip 7.*{reason}"):
            writer.add([good, wrong])
        assert files(tmp_path) == before
        assert content(Index(tmp_path)) == expected
        assert sum(writer.add([good])) == 1


def test_an_error_of_the_entries_is_raised_as_it_is(tmp_path):
    def broken():
        yield entry("a", 9)
        raise OSError("features are gone")

    expected = filled(tmp_path, "ab")
    with Writer(tmp_path) as writer, pytest.raises(OSError, match="features are gone"):
        writer.add(broken())
    assert content(Index(tmp_path)) == expected


def test_unknown_ids_are_named(tmp_path):
    expected = filled(tmp_path, "ab")
    with Writer(tmp_path) as writer:
        message = refusal(writer.delete, ["a", "x5", "x1", "x2", "x4", "x3"])
    assert "no clip 'x1', 'x2', 'x3' and 2 more: nothing was deleted" in message
    assert content(Index(tmp_path)) == expected


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("width", 0),
        ("max_frames", -1),
        ("seconds_per_feature", float("nan")),
        ("dtype", "int8"),
        ("model", {"name": "x"}),
    ],
)
def test_wrong_settings_are_named(tmp_path, field, wrong):
    good = {"width": 2, "max_frames": 3, "seconds_per_feature": 1.0, "dtype": "float16"}
    message = refusal(create, tmp_path / "new", **(good | {"model": MODEL, field: wrong}))
    assert field in message
    assert not (tmp_path / "new").exists()


def test_no_index_is_made_in_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    assert f"{tmp_path} is not empty" in refusal(make, tmp_path)
    assert [*files(tmp_path)] == ["thesis.txt"]
    assert "could not be written to" in refusal(make, tmp_path / "thesis.txt")
    make(tmp_path / "index")
    assert "is not empty" in refusal(make, tmp_path / "index")


def test_leftovers_of_systems_fill_no_folder(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._notes"):
        (tmp_path / name).touch()
    make(tmp_path)
    assert (tmp_path / ".DS_Store").exists()


def test_an_interrupted_creation_can_be_repeated(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / "index.json.new").write_text("{")
    make(tmp_path)
    assert len(Index(tmp_path)) == 0


@pytest.mark.parametrize("opened", [Index, Writer])
def test_a_folder_without_an_index(tmp_path, opened):
    assert "nowhere is no folder" in refusal(opened, tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "file is no folder" in refusal(opened, tmp_path / "file")
    assert f"{tmp_path} holds no index" in refusal(opened, tmp_path)
    assert [*files(tmp_path)] == ["file"]


@pytest.mark.parametrize("version", [0, 1, 4, "3", None])
def test_another_version_of_the_format(tmp_path, version):
    filled(tmp_path, "a")
    manifest = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(manifest | {"format_version": version}))
    message = refusal(Index, tmp_path)
    assert f"{tmp_path} is an index in version {version!r}" in message
    assert "build it again" in message
    (tmp_path / "index.json").write_text(json.dumps({"format_version": version}))
    assert refusal(Writer, tmp_path) == message


@pytest.mark.parametrize("garbage", ["", "{", "[]", "7", "{}", "\x00" * 99, "[" * 100_000])
def test_a_damaged_manifest(tmp_path, garbage):
    filled(tmp_path, "a")
    (tmp_path / "index.json").write_text(garbage)
    assert "index.json is damaged" in refusal(Index, tmp_path)
    (tmp_path / "index.json").write_bytes(b"\xff\xfe\xff")
    assert "index.json is damaged" in refusal(Writer, tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    filled(path, "abc", "de")
    return Index(path)


@given(data=st.data())
def test_a_changed_byte_of_the_manifest_is_noticed(whole, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "index"
    shutil.copytree(whole.path, path)
    raw = bytearray((path / "index.json").read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (path / "index.json").write_bytes(raw)
    try:
        index = Index(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert content(index) == content(whole)


@pytest.mark.parametrize("kind", ["frames", "norms", "clips", "words", "deleted"])
def test_a_cut_or_missing_file_is_named(tmp_path, kind):
    filled(tmp_path, "abc")
    with Writer(tmp_path) as writer:
        writer.delete(["b"])
    (file,) = tmp_path.glob(f"*.{kind}")
    whole = file.read_bytes()
    for raw in (whole[:-1], b"", whole + b"\0"):
        file.write_bytes(raw)
        assert f"{file} is damaged (it has {len(raw)} bytes" in refusal(Index, tmp_path)
    file.unlink()
    assert f"{file} is damaged (it is missing)" in refusal(Index, tmp_path)


def test_only_files_that_no_manifest_names_are_removed(tmp_path):
    expected = filled(tmp_path, "abc")
    strays = {f"000009.{part}" for part in ("frames", "norms", "clips", "words")}
    strays |= {"000010.deleted", "index.json.new"}
    others = {"notes.txt", "1.frames", "000009.frames.old"}
    for name in strays | others:
        (tmp_path / name).write_text("x")
    before = files(tmp_path).keys()
    Index(tmp_path)
    assert files(tmp_path).keys() == before
    with Writer(tmp_path):
        assert files(tmp_path).keys() == before - strays
    assert content(Index(tmp_path)) == expected


HOLDER = """
import sys
import zlib
from hero_jax.index import Writer
with Writer(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_one_program_writes_at_a_time(tmp_path):
    expected = filled(tmp_path, "ab")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "open\n"
        assert f"{tmp_path} is being written to by process {process.pid} on " in refusal(
            Writer, tmp_path
        )
        assert content(Index(tmp_path)) == expected
        process.stdin.close()
        assert process.wait(60) == 0
    with Writer(tmp_path) as writer:
        assert "is being written to" in refusal(Writer, tmp_path)
    with pytest.raises(ValueError, match="is closed"):
        writer.compact()


def test_it_needs_neither_jax_nor_tensorflow():
    code = "import sys, hero_jax.index; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    unneeded = {"jax", "flax", "tensorflow", "ml_collections", "lance", "pyarrow"}
    assert not unneeded & set(loaded)


@pytest.mark.parametrize(
    "fields",
    [
        {"segments": [{"name": "000001", "clips": 1, "text_bytes": 1, "id_bytes": 1, "more": 1}]},
        {"segments": [{"name": "../a", "clips": 1, "text_bytes": 1, "id_bytes": 1}]},
        {"segments": [7]},
        {"width": "3"},
        {"width": -1},
        {"dtype": "float8"},
        {"more": 1},
    ],
)
def test_a_manifest_of_other_fields(tmp_path, fields):
    filled(tmp_path, "a")
    manifest = json.loads((tmp_path / "index.json").read_text())
    manifest["index"] |= fields
    manifest["crc32"] = zlib.crc32(json.dumps(manifest["index"]).encode())
    (tmp_path / "index.json").write_text(json.dumps(manifest))
    assert f"{tmp_path / 'index.json'} is damaged" in refusal(Index, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "read"),
    [
        (b'["video', b'{"video', lambda index: index.describe(0)),
        (b'["video of a",', b'["video of a"]', lambda index: index.describe(0)),
        (b'"video of a"', b"123456789012", lambda index: index.describe(0)),
        (b"clip", b"\xff\xff\xff\xff", lambda index: [*index.clip_ids()]),
        (struct.pack("<q", 4), struct.pack("<q", -4), lambda index: [*index.clip_ids()]),
        (struct.pack("<i", 3), b"\xff\xff\xff\x7f", lambda index: index.num_frames()),
    ],
)
def test_clips_that_are_damaged(tmp_path, old, new, read):
    make(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add([dataclasses.replace(entry("clip", 0, 3), video_id="video of a")])
    (file,) = tmp_path.glob("*.clips")
    content = file.read_bytes()
    before, _, after = content.rpartition(old)
    assert old in content
    file.write_bytes((before + new + after)[: len(content)])
    assert f"{tmp_path} is damaged (its clips cannot be read" in refusal(read, Index(tmp_path))


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 0x80
    file.write_bytes(content)


@pytest.mark.parametrize("kind", ["frames", "norms", "clips", "words", "deleted"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_changed_bit_of_any_file_is_found(tmp_path, kind, dtype):
    make(tmp_path, dtype)
    with Writer(tmp_path) as writer:
        writer.add([entry(name, number) for number, name in enumerate("abc")])
        writer.delete(["b"])
    Index(tmp_path).check()
    (file,) = tmp_path.glob(f"*.{kind}")
    for place in (0, file.stat().st_size // 2):
        flip(file, place)
        index = Index(tmp_path)
        assert refusal(index.check) == (
            f"{file} is damaged (its checksum does not match): restore the index from a copy, or "
            "build it again"
        )
        flip(file, place)
    Index(tmp_path).check()


def test_damage_is_not_copied(tmp_path):
    make(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add([entry(name, number) for number, name in enumerate("abc")])
        writer.delete(["b"])
        (file,) = tmp_path.glob("*.frames")
        flip(file, 0)
        before = sorted(tmp_path.iterdir())
        assert f"{file} is damaged (its checksum" in refusal(writer.compact)
        assert sorted(tmp_path.iterdir()) == before
        flip(file, 0)
        writer.compact()
    Index(tmp_path).check()
    assert len(Index(tmp_path)) == 2


def test_an_index_of_an_earlier_version_has_no_checksums_and_is_read(tmp_path):
    filled(tmp_path, "abc")
    expected = content(Index(tmp_path))
    manifest = json.loads((tmp_path / "index.json").read_text())
    for segment in manifest["index"]["segments"]:
        del segment["checksums"]
    manifest["crc32"] = zlib.crc32(json.dumps(manifest["index"]).encode())
    (tmp_path / "index.json").write_text(json.dumps(manifest))
    index = Index(tmp_path)
    index.check()
    assert content(index) == expected
    with Writer(tmp_path) as writer:
        writer.delete(["a"])
    Index(tmp_path).check()
