"""A proxy in front of an S3 server, for what a server or the way to it can do wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """An error in place of what the server says."""

    status: int
    code: str


Fault = Answer | Literal["stall", "short body", "lost reply"]


@dataclass(slots=True)
class S3Proxy:
    """A running proxy: `faults` are met one by one by the requests of their method, then none any more.

    The fault None lets a request pass.
    """

    url: str = ""
    faults: deque[tuple[str, Fault | None]] = field(default_factory=deque)
    requests: int = 0
    gone: bool = False
    """Whether no object is there any more, though listings still have it."""

    def next_fault(self, method: str) -> Fault | None:
        """Take the fault that a request of *method* meets."""
        self.requests += 1
        if self.faults and self.faults[0][0] == method:
            return self.faults.popleft()[1]
        return None


@contextmanager
def s3_proxy(endpoint: str, drop: str = "") -> Iterator[S3Proxy]:
    """Run a proxy in front of *endpoint* that drops the header *drop* from all requests."""
    target, proxy, over = urlsplit(endpoint).netloc, S3Proxy(), Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.next_fault(self.command)
            self.close_connection = True
            if fault == "stall":
                over.wait(30)
            elif proxy.gone and self.command == "GET" and "list-type" not in self.path:
                self._reply(404, [], b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
            elif isinstance(fault, Answer):
                text = f"<Error><Code>{fault.code}</Code><Message>no</Message></Error>"
                self._reply(fault.status, [], text.encode())
            else:
                status, headers, data = self._ask(body)
                if fault == "short body" and status >= 300:
                    # Of an error nobody needs the body: the fault waits for one that counts.
                    proxy.faults.appendleft((self.command, fault))
                    self._reply(status, headers, data)
                elif fault == "short body":
                    self._reply(status, headers, data, missing=len(data) // 2)
                elif fault is None:
                    self._reply(status, headers, data)

        def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            dropped = {drop.lower(), "expect", "connection"}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
            upstream = HTTPConnection(target, timeout=10)
            try:
                upstream.request(self.command, self.path, body, headers)
                reply = upstream.getresponse()
                return reply.status, reply.getheaders(), reply.read()
            finally:
                upstream.close()

        def _reply(
            self, status: int, headers: list[tuple[str, str]], data: bytes, missing: int = 0
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data[: len(data) - missing])

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

        def handle_expect_100(self) -> bool:
            return True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        over.set()
        server.shutdown()
        server.server_close()
