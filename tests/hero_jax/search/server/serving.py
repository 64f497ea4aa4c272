"""A server of a few tiny films in a thread of this process, and a client for it."""

import contextlib
import http.client
import json
import threading
import time
import urllib.parse

import numpy as np

from hero_jax.search.adding import add_films
from hero_jax.search.engine import add_clips, create_index
from hero_jax.search.server.batching import Bounds
from hero_jax.search.server.opening import compose
from hero_jax.search.server.running import listen
from tests.hero_jax.inference import export_samples as samples
from tests.hero_jax.search import film_samples

BOUNDS = Bounds(most_at_once=2, most_waiting=64, gather=0.002, deadline=30)
# Text that would be a picture, a script or a header, where it is not taken for text.
HOSTILE = "<img src=x onerror=document.title='hacked'>"
RECORD = "</script><script>document.title='hacked'</script>"
SAID = f"a red circle jumps over {HOSTILE} & the blue square"
TIMES = "00:00:04,000 --> 00:00:07,500"


def write_films(folder):
    """Writes films that browsers play: one in a folder, one of a hostile name."""
    for number, name in enumerate(("one", "season 1/two", HOSTILE)):
        path = folder / f"{name}.mp4"
        film_samples.write_film(path, number, seconds=20 - 4 * number, codec="libx264")
        words = ("the red circle jumps & jumps", "then it spins", "slowly")[number]
        path.with_suffix(".srt").write_text(f"1\n{TIMES}\n{words}\n")


def make_library(root):
    """Makes films and their index in a folder, and returns their paths."""
    films, index = (root / "films").resolve(), root / "index"
    write_films(films)
    create_index(samples.model(), index)
    add_films(samples.model(), films, index, film_samples.reading())
    # It has neither a file nor pictures.
    features = np.random.default_rng(5).normal(size=(6, sum(samples.WIDTHS))).astype(np.float16)
    add_clips(samples.model(), [samples.model().clip(RECORD, features, [(1.0, 7.0, SAID)])], index)
    return films, index


class Client:
    """Asks a server; every request has a connection of its own."""

    def __init__(self, port):
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, method, path, body=None, **headers):
        """Returns the status, the headers and the content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, route, **parameters):
        """Returns the JSON of a route without a body."""
        query = urllib.parse.urlencode(parameters)
        status, _, content = self.ask("GET", f"{route}?{query}")
        assert status == 200, content
        return json.loads(content)

    def post(self, route, **fields):
        """Returns the status and the JSON of a route."""
        body = json.dumps(fields)
        status, _, content = self.ask("POST", route, body, content_type="application/json")
        return status, json.loads(content)

    def search(self, query, **fields):
        """Returns the moments of a sentence."""
        status, reply = self.post("/api/search", query=query, **fields)
        assert status == 200, reply
        return reply["moments"]


@contextlib.contextmanager
def serving(films, index, *, bounds=BOUNDS, allow_add=True, pictures=None):
    """Serves an index on a free port."""
    server = compose(
        samples.model(),
        index,
        videos=films,
        pictures=pictures,
        reading=film_samples.reading() if films else None,
        allow_add=allow_add,
        bounds=bounds,
        local=True,
    )
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
