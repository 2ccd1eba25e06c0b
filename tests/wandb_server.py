"""A stand-in for the W&B server on the loopback: the real client runs online against it, whole or in trouble.

It answers the requests of wandb 0.31 (a run's start, its stream of rows, its files, a sweep's agent) and keeps what
it was sent. ``trouble`` breaks it, from the start, while it runs, or after some requests, and None heals it.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any, Literal

from wandb_answers import Answers

KEY = "k" * 40
HANG_S = 60.0
Trouble = Literal["hang", "drop", 403, 500] | None


class Server(ThreadingHTTPServer):
    """Takes runs and keeps what it was sent: rows, summaries and exit codes by run id.

    ``trouble``: what every request meets from now on (``hang``: no answer; ``drop``: the connection is cut; or an
    HTTP status). ``trouble_after``: after how many requests with rows it begins (None: at once).
    ``refused_entities`` are unknown to it, the ids ``deleted`` are not given again. ``commands`` are handed to the
    agent of a sweep one by one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.mutex = threading.Lock()
        self.trouble: Trouble = None
        self.trouble_after: int | None = None
        self.num_streams = 0
        self.max_runs: int | None = None
        self.refused_entities: set[str] = set()
        self.deleted: set[str] = set()
        self.delay_s = 0.0
        self.sweep_yaml = ""
        self.commands: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}  # saved views of projects, by name
        self.reports: dict[str, dict[str, Any]] = {}  # by id
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves its requests: nothing to print into the output of later tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that answers while the block lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


class Handler(Answers):
    """Reads a request, meets it with the server's trouble, or hands it to the answer of its name."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return json.loads(data) if data.startswith(b"{") else data

    def in_trouble(self) -> bool:
        """Meets the request with the server's trouble, if it has one."""
        time.sleep(self.server.delay_s)
        after = self.server.trouble_after
        if self.server.trouble is None or (after is not None and self.server.num_streams < after):
            return False
        if self.server.trouble == "hang":
            self.server.closing.wait(HANG_S)
        if isinstance(self.server.trouble, int):
            self.answer({"errors": [{"message": "the server is in trouble"}]}, self.server.trouble)
        else:
            self.close_connection = True
        return True

    def do_PUT(self) -> None:
        self.body()
        if not self.in_trouble():
            self.answer({})

    def do_GET(self) -> None:
        if not self.in_trouble():
            self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        if self.in_trouble():
            return
        if self.path == "/graphql":
            self.graphql(body["query"], body.get("variables") or {})
        elif stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", self.path):
            self.file_stream(stream.group(3), body)
        else:
            self.answer({}, 404)

    def graphql(self, query: str, variables: dict[str, Any]) -> None:
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found.group(1) if found else ""
        self.server.requests.append(name)
        method = getattr(self, f"answer_{name}", None)
        data = method(variables) if method else {}
        if data is not None:
            self.answer({"data": data})

    def file_stream(self, run_id: str, body: dict[str, Any]) -> None:
        with self.server.mutex:
            run = self.server.runs[run_id]
            for name, file in (body.get("files") or {}).items():
                lines = (
                    [json.loads(line) for line in file["content"]]
                    if name.endswith((".jsonl", ".json"))
                    else []
                )
                if name == "wandb-history.jsonl":
                    # Rows are numbered, and what is sent for a number again takes its place.
                    run["rows"][file["offset"] : file["offset"] + len(lines)] = lines
                elif name == "wandb-events.jsonl":
                    run["events"][file["offset"] : file["offset"] + len(lines)] = lines
                elif name == "wandb-summary.json":
                    run["summary"] = lines[-1]
            if body.get("complete"):
                run["exit"] = body.get("exitcode")
            self.server.num_streams += 1
        self.answer({})
