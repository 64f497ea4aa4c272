"""The server of searches under load: requests a second, latencies, memory, and stopping.

    python -m benchmarks.serve [--clips=20000] [--requests=100000]

Serves an index of clips of 32 random frames with a small model of random weights, on loopback, in
a process of its own. Clients in this process each ask for one sentence after another, on one
connection: with requests gathered into batches, and one by one. Then a server of a smaller index
gets requests of all kinds, and its memory is read; and one is told to stop while clients ask.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import safetensors.numpy

from benchmarks.index import SENTENCE, build, random_model
from benchmarks.measuring import memory_field
from hero_jax.inference import exported
from hero_jax.inference.model import Model

CLIPS, SECONDS, REQUESTS = 20_000, 8.0, 100_000
CLIENTS = (1, 8, 64)
MEMORY_CLIPS = 200
MEMORY_CLIENTS = 8
# Shares of the requests after which memory is read.
READINGS = (0.1, 0.25, 0.5, 0.75, 1.0)
# Options of the server by what is compared.
WAYS = {"gathered": (), "one by one": ("--most_at_once=1", "--gather=0")}


@dataclasses.dataclass
class Answers:
    """Requests that were sent, and seconds until each answer of status 200 was there."""

    sent: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)

    def line(self, length: float) -> str:
        """Formats the rate of `length` seconds, and the latencies in milliseconds."""
        parts = 1e3 * np.percentile(self.seconds, [50, 95, 99])
        rate = len(self.seconds) / length
        return f"{rate:10,.1f} {parts[0]:8,.1f} {parts[1]:8,.1f} {parts[2]:8,.1f}"


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that runs: its process and its port."""

    process: subprocess.Popen
    port: int


@contextlib.contextmanager
def served(folder: pathlib.Path, index: str, options: Sequence[str] = ()) -> Iterator[Running]:
    """Runs a server of an index of a folder."""
    command = [sys.executable, "-m", "hero_jax.search", "serve", "--port=0", *options]
    command += [f"--model={folder / 'model'}", f"--index={folder / index}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        yield Running(process, int(process.stderr.readline().rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate()


def write_export(model: Model, folder: pathlib.Path) -> None:
    """Writes what the server reads of an export."""
    folder.mkdir()
    (folder / exported.DESCRIPTION).write_text(json.dumps(model.exported.description))
    model.tokenizer.save(folder / exported.TOKENIZER)
    weights = safetensors.numpy.save(model.exported.params)
    (folder / exported.WEIGHTS).write_bytes(weights)


def search_request(number: int) -> bytes:
    """Returns a request for one of many sentences."""
    words = np.random.default_rng(number).permutation(SENTENCE.split())[:6]
    body = json.dumps({"query": " ".join(words), "top": 10}).encode()
    head = f"POST /api/search HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"content-type: application/json\r\n\r\n" + body


def any_request(number: int) -> bytes:
    """Returns a request of one of several kinds; the first of ten is a search."""
    routes = ("api/films?limit=5", "api/health", "subtitles?id=video+1", "metrics", "page.css")
    if number % 10 == 0:
        return search_request(number // 10)
    return f"GET /{routes[number % len(routes)]} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


async def client(
    port: int, numbers: Iterator[int], request: Callable[[int], bytes], answers: Answers
) -> None:
    """Sends requests on one connection until there are no numbers, or the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in numbers:
            begun = time.perf_counter()
            writer.write(request(number))
            answers.sent += 1
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            if head.startswith(b"http/1.1 200"):
                answers.seconds.append(time.perf_counter() - begun)
            if b"connection: close" in head:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # It was sent, and was not answered.
    finally:
        writer.close()


def load(
    port: int, clients: int, numbers: Iterator[int], request: Callable[[int], bytes]
) -> Answers:
    """Runs clients, which share numbers of requests, to their end."""
    answers = Answers()

    async def run() -> None:
        await asyncio.gather(*(client(port, numbers, request, answers) for _ in range(clients)))

    asyncio.run(run())
    return answers


def for_seconds(seconds: float) -> Iterator[int]:
    """Yields numbers for some time."""
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        number += 1
        yield number


def measure_load(folder: pathlib.Path, clients: Sequence[int], seconds: float) -> None:
    """Prints rates and latencies of searches by the number of clients."""
    print("                clients  requests/s   p50 ms   p95 ms   p99 ms")
    for name, options in WAYS.items():
        with served(folder, "index", options) as server:
            load(server.port, 1, iter(range(10)), search_request)
            for count in clients:
                begun = time.perf_counter()
                answers = load(server.port, count, for_seconds(seconds), search_request)
                line = answers.line(time.perf_counter() - begun)
                print(f"{name:<15} {count:8} {line}", flush=True)


def measure_memory(folder: pathlib.Path, requests: int) -> None:
    """Prints the memory of a server after shares of many requests."""
    print("memory:", end="")
    with served(folder, "small index") as server:
        done, answered, begun = 0, 0, time.perf_counter()
        for share in READINGS:
            until = round(share * requests)
            answers = load(server.port, MEMORY_CLIENTS, iter(range(done, until)), any_request)
            done, answered = until, answered + len(answers.seconds)
            memory = memory_field(f"/proc/{server.process.pid}/status", "RssAnon")
            print(f" {memory / 2**20:,.0f} MB after {done:,},", end="", flush=True)
        rate = answered / (time.perf_counter() - begun)
        print(f" requests ({answered:,} answered, {rate:,.0f}/s)", flush=True)


def measure_stop(folder: pathlib.Path, clients: int, seconds: float) -> None:
    """Prints how many requests a server leaves unanswered that is stopped under load."""
    with served(folder, "index") as server:

        async def stop() -> Answers:
            answers, numbers = Answers(), for_seconds(3600)
            running = asyncio.gather(
                *(client(server.port, numbers, search_request, answers) for _ in range(clients))
            )
            await asyncio.sleep(seconds)
            server.process.send_signal(signal.SIGTERM)
            await running
            return answers

        answers = asyncio.run(stop())
        begun = time.perf_counter()
        status = server.process.wait(60)
    print(
        f"SIGTERM with {clients} clients: {answers.sent:,} requests sent, "
        f"{answers.sent - len(answers.seconds)} not answered; ended with status {status} "
        f"{time.perf_counter() - begun:.1f} s after the last answer"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the indexes and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--clips", type=int, default=CLIPS, help="default: %(default)s")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of each row; default: %(default)s"
    )
    parser.add_argument(
        "--requests", type=int, default=REQUESTS, help="for the memory; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if min(options.clips, *options.clients, options.requests, options.seconds) <= 0:
        parser.error("--clips, --clients, --requests and --seconds have to be above 0")
    with tempfile.TemporaryDirectory() as name:
        folder, model = pathlib.Path(name), random_model(small=True)
        write_export(model, folder / "model")
        build(folder / "index", options.clips, model)
        build(folder / "small index", min(MEMORY_CLIPS, options.clips), model)
        print(f"{options.clips:,} clips x 32 x {model.width}")
        measure_load(folder, options.clients, options.seconds)
        measure_memory(folder, options.requests)
        measure_stop(folder, max(options.clients), min(options.seconds, 2))


if __name__ == "__main__":
    main()
