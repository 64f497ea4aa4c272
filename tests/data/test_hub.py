"""Tokenizers that are fetched from the hub, for which a server on this machine stands in."""

import contextlib
import hashlib
import http.server
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data.errors import InputError
from data.hub import _quiet
from data.tokenizer import HUB, Tokenizer
from tests.paths import ROOT

NAME = "roberta-base"
REPOSITORY, IDENTITY = HUB[NAME]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Loads the tokenizer twice, as users do in two commands; the hub's address is read when the hub's
# library is imported, so it runs in a process of its own.
LOAD = f"""
import sys
from data.errors import InputError
from data.tokenizer import HUB, Tokenizer
HUB[{NAME!r}] = ({REPOSITORY!r}, sys.argv[1])
try:
    identities = {{Tokenizer.load({NAME!r}).identity for _ in range(2)}}
    print(*identities)
except InputError as error:
    print(error)
"""


@contextlib.contextmanager
def serving(folder):
    """Yields the address of a server that has a folder's files as REPOSITORY, and its requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            if content := self.answer():
                requests.append(self.path.rpartition("/")[2])
                self.wfile.write(content)

        def answer(self):
            place, _, name = self.path.partition("/resolve/")
            file = folder / name.partition("/")[2]
            known = place == f"/{REPOSITORY}" and file.is_file()
            content = file.read_bytes() if known else b""
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            if known:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            return content

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def load(cache, address="", identity=IDENTITY):
    """Returns the output of a process that loads the tokenizer: its identity, or the error."""
    place = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": str(int(not address)), "NO_PROXY": "*"}
    environment = {**os.environ, **place, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOAD, identity]
    done = subprocess.run(
        command, env=environment, cwd=cache.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with the pair of files of a small tokenizer, and its identity."""
    folder = tmp_path_factory.mktemp("small")
    tokenizer = Tokenizer.train(["the red circle jumps"] * 3, 290)
    tokenizer.save(folder / "saved")
    model = json.loads((folder / "saved").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(" ".join(merge) for merge in model["merges"]))
    return folder, tokenizer.identity


def test_a_tokenizer_is_fetched_once(small, tmp_path):
    folder, identity = small
    cache = tmp_path / "cache"
    with serving(folder) as (address, requests):
        assert load(cache, address, identity) == identity
        assert requests == ["vocab.json", "merges.txt"]
    assert load(cache, "http://127.0.0.1:1", identity) == identity


def test_another_tokenizer_than_the_known_one_is_refused(small, tmp_path):
    with serving(small[0]) as (address, _):
        said = load(tmp_path / "cache", address)
    assert f"{COMMIT} is not the tokenizer {NAME}" in said
    assert "put its vocab.json and merges.txt into a folder" in said


def test_without_a_network_or_the_files_it_says_what_to_do(small, tmp_path):
    said = load(tmp_path / "cache")
    assert said.startswith(f"{REPOSITORY} cannot be fetched from the Hugging Face Hub (Cannot ")
    assert said.endswith(
        "put its vocab.json and merges.txt into a folder and give that as the tokenizer"
    )
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "vocab.json").write_text("{")
    with serving(tmp_path / "served") as (address, _):
        assert "404" in load(tmp_path / "cache", address)
        (tmp_path / "served" / "merges.txt").write_text("")
        assert "cannot be used (Expecting property name" in load(tmp_path / "cache", address)


def test_without_the_hubs_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="pip install huggingface_hub, or put its vocab"):
        Tokenizer.load(NAME)


def test_a_folder_of_that_name_is_taken_before_the_hub(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(NAME).symlink_to(small[0])
    assert Tokenizer.load(NAME).identity == small[1]


@pytest.mark.shared
def test_robertas_files_are_the_known_tokenizer():
    folder = Path(os.environ["HERO_SHARED"]) / "roberta_bpe"
    assert Tokenizer.load(folder).identity == IDENTITY


def test_the_librarys_reports_of_its_attempts_are_not_shown(caplog):
    library = logging.getLogger("huggingface_hub.utils._http")
    with _quiet():
        library.warning("Retrying in 1s [Retry 1/5].")
    assert not caplog.records
    library.warning("as before")
    assert [record.message for record in caplog.records] == ["as before"]
