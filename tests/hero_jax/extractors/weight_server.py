"""A server of files on this machine, which can be slow, cut connections and refuse ranges."""

import contextlib
import hashlib
import http.server
import threading

CONTENT = bytes(range(256)) * 20_000


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under every path.

    Attributes:
      address: URL of the folder that the files are in.
      requests: path and `Range` header of each request so far.
      cut_after: bytes that the next answers send before the connection is cut, one entry each.
      ranges: whether `Range` headers are heeded.
      status: status of every answer, 200 for the file.
      page: whether the answer says that it is a web page.
      go_on: answers wait for this once they have sent half.
      started: is set when half of an answer is sent.
      tag: how the state of the file is named.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests, self.cut_after = [], []
        self.ranges, self.status, self.page = True, 200, False
        self.go_on, self.started = threading.Event(), threading.Event()
        self.go_on.set()
        self.content = CONTENT

    def handle_error(self, *_):
        """Keeps silent about connections that clients cut."""

    @property
    def tag(self):
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self):
        """Answers as the Hugging Face Hub does."""
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def do_GET(self):
        asked = self.headers.get("Range", "")
        self.server.requests.append((self.path, asked))
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        begin, size = 0, len(self.server.content)
        if asked and self.server.ranges and self.headers["If-Range"] == self.server.tag:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin >= size:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("ETag", self.server.tag)
        kind = "text/html; charset=utf-8" if self.server.page else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size - begin))
        self.end_headers()
        middle = begin + (size - begin) // 2
        self.wfile.write(self.server.content[begin:middle])
        self.wfile.flush()
        self.server.started.set()
        self.server.go_on.wait(60)
        if self.server.cut_after:
            self.wfile.write(self.server.content[middle : middle + self.server.cut_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(self.server.content[middle:])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
