"""Downloads of weights: from a server on this machine, cut, wrong, and by two processes at once."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import InputError
from hero_jax.extractors.download import fetch
from hero_jax.extractors.known import FILES, KnownFile
from tests.hero_jax.extractors.weight_server import CONTENT, serving
from tests.paths import ROOT

DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("HERO_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def known(server, monkeypatch):
    """Makes a file known that the server has, with its hash or a wrong one."""

    def add(sha256=DIGEST[:8]):
        file = KnownFile("tiny.pth", "Somebody", f"{server.address}/a/tiny.pth", "MIT", sha256)
        monkeypatch.setitem(FILES, "tiny", (file,))

    add()
    return add


def refusal():
    with pytest.raises(InputError) as caught:
        fetch("tiny")
    message = str(caught.value)
    assert "\n" not in message
    return message


def kept(folder):
    """The names of the files in the cache, without locks."""
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def test_a_file_is_downloaded_once(server, cache, known, capfd):
    path = fetch("tiny")
    assert path == cache / "tiny.pth"
    assert path.read_bytes() == CONTENT
    told = capfd.readouterr().err
    assert "Somebody's tiny.pth: MIT" in told
    assert "Downloading tiny.pth, MB: 5, done" in told
    assert f"SHA-256 {DIGEST} (as published)" in told
    assert fetch("tiny") == path
    assert server.requests == [("/a/tiny.pth", "")]
    assert kept(cache) == [".tiny.pth.sha256", "tiny.pth"]


def test_a_file_whose_hash_is_not_published(server, cache, known, capfd):
    known("")
    path = fetch("tiny")
    assert f"SHA-256 {DIGEST} (no hash was published" in capfd.readouterr().err
    fetch("tiny")
    assert len(server.requests) == 1
    path.write_bytes(CONTENT[:-1])
    assert fetch("tiny").read_bytes() == CONTENT
    assert "was changed after it was downloaded" in capfd.readouterr().err


def test_a_connection_that_is_cut_goes_on_by_itself(server, cache, known, capfd):
    server.cut_after = [100, 7]
    assert fetch("tiny").read_bytes() == CONTENT
    half = len(CONTENT) // 2
    second = half + 100 + (half - 100) // 2 + 7
    assert server.requests == [
        ("/a/tiny.pth", ""),
        ("/a/tiny.pth", f"bytes={half + 100}-"),
        ("/a/tiny.pth", f"bytes={second}-"),
    ]
    assert f"{half + 100} of {len(CONTENT)} bytes were sent" in capfd.readouterr().err


def test_a_later_run_goes_on_where_an_earlier_one_ended(server, cache, known):
    cache.mkdir()
    (cache / ".tiny.pth.part").write_bytes(CONTENT[:1000])
    (cache / ".tiny.pth.part.state").write_text(server.tag)
    assert fetch("tiny").read_bytes() == CONTENT
    assert server.requests == [("/a/tiny.pth", "bytes=1000-")]
    assert kept(cache) == [".tiny.pth.sha256", "tiny.pth"]


@pytest.mark.parametrize("state", ["", '"another"'])
def test_a_beginning_of_another_file_is_not_gone_on_with(server, cache, known, state):
    cache.mkdir()
    (cache / ".tiny.pth.part").write_bytes(b"x" * 1000)
    if state:
        (cache / ".tiny.pth.part.state").write_text(state)
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_server_without_ranges(server, cache, known):
    server.ranges, server.cut_after = False, [100]
    assert fetch("tiny").read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_beginning_that_is_the_whole_file_or_more(server, cache, known, length):
    cache.mkdir()
    (cache / ".tiny.pth.part").write_bytes((CONTENT + bytes(5))[:length])
    (cache / ".tiny.pth.part.state").write_text(server.tag)
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_wrong_hash_keeps_nothing(server, cache, known):
    known("00000000")
    message = refusal()
    assert message.startswith(f"{server.address}/a/tiny.pth gave a file with the SHA-256 {DIGEST}")
    assert "begin with 00000000: nothing was kept" in message
    assert kept(cache) == []


def test_a_wrong_file_at_the_mirror(server, cache, monkeypatch):
    monkeypatch.setenv("HERO_JAX_MIRROR", f"{server.address}/weights/")
    with pytest.raises(InputError, match="should begin with 394f9c45"):
        fetch("resnet")
    assert server.requests == [("/weights/resnet152-394f9c45.pth", "")]


def test_errors_of_the_server(server, cache, known):
    for server.status, reason in {404: "Not Found", 503: "Service Unavailable"}.items():
        assert f"/a/tiny.pth answers {server.status} ({reason}): download" in refusal()
    server.status, server.page = 200, True
    assert "answers with a web page" in refusal()
    assert kept(cache) == []


def test_no_server(server, cache, known):
    server.shutdown()
    server.server_close()
    message = refusal()
    assert "could not be downloaded ([Errno 111] Connection refused): check the" in message
    assert kept(cache) == []


def test_a_mirror_that_is_a_folder(tmp_path, cache, monkeypatch):
    (tmp_path / "s3d_howto100m.pth").write_bytes(CONTENT)
    monkeypatch.setenv("HERO_JAX_MIRROR", tmp_path.as_uri())
    assert fetch("mil-nce").read_bytes() == CONTENT
    monkeypatch.setenv("HERO_JAX_MIRROR", str(tmp_path))
    (cache / "s3d_howto100m.pth").unlink()
    with pytest.raises(InputError, match=r"HERO_JAX_MIRROR is .*: give a URL"):
        fetch("mil-nce")


def test_a_cache_that_cannot_be_written(tmp_path, known, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HERO_JAX_CACHE", str(tmp_path / "file/cache"))
    assert "could not be written to (Not a directory): make room, or set HERO_JAX" in refusal()


def test_networks_without_a_known_file():
    with pytest.raises(InputError, match="choose one of resnet, slowfast, clip-vit, mil-nce"):
        fetch("efficientnet-lite0")


PROGRAM = "from hero_jax.extractors.download import fetch\n"


def start(server, cache, code, **environment):
    names = {"HERO_JAX_CACHE": str(cache), "HERO_JAX_MIRROR": server.address}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code],
        cwd=ROOT,
        env=os.environ | names | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_download_once(server, cache):
    server.go_on.clear()
    code = "print(fetch('mil-nce'))"
    first = start(server, cache, code)
    assert server.started.wait(60)
    second = start(server, cache, code)
    assert second.stderr.readline().startswith("Waiting for another process that downloads s3d")
    server.go_on.set()
    for process in first, second:
        out, _ = process.communicate(timeout=60)
        assert out.strip() == str(cache / "s3d_howto100m.pth")
    assert len(server.requests) == 1


def test_a_process_that_is_killed_leaves_what_the_next_goes_on_with(server, cache):
    server.go_on.clear()
    process = start(server, cache, "fetch('mil-nce')")
    assert server.started.wait(60)
    part = cache / ".s3d_howto100m.pth.part"
    # Chunks of a megabyte are written; the rest of the half waits for its chunk to be full.
    while not part.exists() or part.stat().st_size < 1 << 20:
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert kept(cache) == [".s3d_howto100m.pth.part", ".s3d_howto100m.pth.part.state"]
    server.go_on.set()
    process = start(server, cache, "print(fetch('mil-nce').read_bytes().__len__())")
    assert process.communicate(timeout=60)[0].strip() == str(len(CONTENT))
    assert server.requests[1][1].startswith("bytes=")


def from_hub(server, tmp_path, **environment):
    """Returns what a program prints that fetches CLIP from the hub, as it finds no mirror."""
    pytest.importorskip("huggingface_hub")
    code = (
        "from data.errors import InputError\n"
        "try:\n    print(fetch('clip-vit'))\nexcept InputError as error:\n    print(error)\n"
    )
    names = {"HF_HOME": str(tmp_path / "hub"), "HF_ENDPOINT": server.address}
    # No program listens there.
    names["HERO_JAX_MIRROR"] = "http://127.0.0.1:9"
    process = start(server, tmp_path, code, **names, **environment)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "http://127.0.0.1:9/ViT-B-32.pt could not be downloaded" in told
    return out.strip()


def test_a_file_of_the_hub(server, tmp_path):
    path = Path(from_hub(server, tmp_path))
    assert path.is_relative_to(tmp_path / "hub")
    assert path.name == "pytorch_model.bin"
    assert path.read_bytes() == CONTENT
    path_there = "/openai/clip-vit-base-patch32/resolve/main/pytorch_model.bin"
    assert (path_there, "") in server.requests


def test_no_hub(server, tmp_path):
    line = from_hub(server, tmp_path, HF_HUB_OFFLINE="1")
    assert line.startswith(
        "openai/clip-vit-base-patch32 cannot be fetched from the Hugging Face Hub"
    )
    assert line.endswith("check the connection, or download the file by hand and give its path")
    assert "\n" not in line
