"""The command: what it refuses, and that it stops without losing a request."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading

import pytest
import safetensors.numpy

from hero_jax.inference import exported
from hero_jax.search import build_index
from hero_jax.search.__main__ import main
from tests.hero_jax.inference import export_samples as samples
from tests.paths import ROOT


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with an export and an index."""
    here = tmp_path_factory.mktemp("here")
    (here / "model").mkdir()
    (here / "model" / exported.DESCRIPTION).write_text(json.dumps(samples.source().description))
    samples.tokenizer().save(here / "model" / exported.TOKENIZER)
    weights = safetensors.numpy.save(samples.source().params)
    (here / "model" / exported.WEIGHTS).write_bytes(weights)
    build_index(samples.model(), samples.clips(), here / "index")
    return here


def refused(here, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["serve", f"--model={here / 'model'}", f"--index={here / 'index'}", *arguments])
    return str(caught.value)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--most_at_once=0", "--most_at_once=0 is too small: give 1 or more"),
        ("--most_waiting=0", "--most_waiting=0 is too small: give 1 or more"),
        ("--deadline=0", "--deadline=0 is impossible: give seconds above 0"),
        ("--gather=nan", "--gather=nan is impossible: give 0 or more milliseconds"),
        ("--port=70000", "--port=70000 is no port: give a number from 0 to 65535"),
        ("--host=none.invalid", "none.invalid:0 cannot be listened on"),
        ("--videos=/none", "--videos=/none is no folder: name the folder of the films"),
        ("--allow_add", "--allow_add and --weights are for films: name their folder"),
    ],
)
def test_says_what_is_wrong(here, argument, said):
    assert refused(here, "--port=0", argument).startswith(f"error: {said}")


def test_a_port_that_is_taken_is_named(here):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be listened on" in refused(here, f"--port={port}")


def test_sigterm_under_load_loses_no_request(here):
    """Each client asks again and again on one connection until it is told to connect no more."""
    command = [sys.executable, "-m", "hero_jax.search", "serve", "--port=0", "--most_at_once=4"]
    command += [f"--model={here / 'model'}", f"--index={here / 'index'}"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        port = int(process.stderr.readline().rpartition(":")[2])
        statuses, started = [], threading.Barrier(9, timeout=60)

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            body, kind = json.dumps({"query": "it spins"}), {"content-type": "application/json"}
            for number in range(1_000_000):
                connection.request("POST", "/api/search", body, kind)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
                if number == 1:
                    started.wait()
                if response.headers["connection"] == "close":
                    break

        clients = [threading.Thread(target=client) for _ in range(8)]
        for one in clients:
            one.start()
        started.wait()
        process.send_signal(signal.SIGTERM)
        for one in clients:
            one.join()
        assert process.wait(30) == 0
        assert {*statuses} == {200}
        assert process.stderr.read() == "stopped\n"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
