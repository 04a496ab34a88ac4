"""A proxy in front of a server, for what the network between can do wrong."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from threading import Condition, Thread
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from .server import Server

Direction = Literal["requests", "replies"]
BOTH: tuple[Direction, ...] = ("requests", "replies")
_RESET = struct.pack("ii", 1, 0)
"""To linger for no time: whoever closes then says so by RST."""


class _Link:
    """One connection: the client's end and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends: dict[Direction, socket.socket] = {"requests": client, "replies": server}
        self.broken = False
        self.open_directions = set(BOTH)

    def source(self, direction: Direction) -> socket.socket:
        return self.ends[direction]

    def sink(self, direction: Direction) -> socket.socket:
        return self.ends["replies" if direction == "requests" else "requests"]

    def close(self) -> None:
        for end in self.ends.values():
            end.close()


class TcpProxy(Server):
    """Passes what comes to a loopback port of its own on to another.

    Whatever is set acts on living connections.

    Args:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._changed = Condition()
        self._held: frozenset[Direction] = frozenset()
        self._delay_s = 0.0
        self._left: dict[Direction, int] = {}
        self._links: set[_Link] = set()
        self._closed = False

    def url(self, server: str) -> str:
        """Return the URL of *server* by way of this proxy."""
        parts = urlsplit(server)
        account, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{self.port}"))

    def start(self) -> Self:
        """Accept connections from now on."""
        Thread(target=self._accept, name="proxy-accept", daemon=True).start()
        return self

    def pass_on(self) -> None:
        """Heal: what was held arrives, and nothing is late any more."""
        with self._changed:
            self._held, self._delay_s, self._left = frozenset(), 0.0, {}
            self._changed.notify_all()

    def delay(self, seconds: float) -> None:
        """Let each piece of a reply arrive so much later."""
        with self._changed:
            self._delay_s = seconds
            self._changed.notify_all()

    def hold(self, *directions: Direction) -> None:
        """Forward nothing in these directions, by default in both, and let nobody notice.

        Connections are accepted and stay open. What was sent arrives when it is over, as TCP has it.
        """
        with self._changed:
            self._held = frozenset(directions or BOTH)

    def cut_after(self, count: int, direction: Direction = "replies") -> None:
        """Reset the connection in which the next *count* bytes of all have passed; then pass on."""
        with self._changed:
            self._left = {direction: count}

    def reset(self) -> None:
        """Reset all living connections."""
        with self._changed:
            for link in self._links:
                self._break(link)
            self._changed.notify_all()

    def retarget(self, port: int) -> None:
        """Lead new connections to another server; the living stay where they are until `reset`."""
        with self._changed:
            self._target = port

    def close(self) -> None:
        """Accept nothing any more and reset all connections."""
        with self._changed:
            self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                target = self._target
            try:
                server = socket.create_connection(("127.0.0.1", target), timeout=5)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server)
            for end in link.ends.values():
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._links.add(link)
                if self._closed:
                    self._break(link)
            for direction in BOTH:
                Thread(target=self._pump, args=(link, direction), daemon=True).start()

    def _pump(self, link: _Link, direction: Direction) -> None:
        source, sink = link.source(direction), link.sink(direction)
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._wait(link, direction):
                    break
                passed = self._allowed(direction, len(data))
                sink.sendall(data[:passed])
                if passed < len(data):
                    with self._changed:
                        self._break(link)
            if not link.broken:
                sink.shutdown(socket.SHUT_WR)
        with self._changed:
            link.open_directions.discard(direction)
            if not link.open_directions:
                self._links.discard(link)
                link.close()

    def _wait(self, link: _Link, direction: Direction) -> bool:
        """Wait until *direction* is free; False: the connection was broken meanwhile."""
        with self._changed:
            if direction == "replies" and self._delay_s:
                self._changed.wait_for(lambda: link.broken or not self._delay_s, self._delay_s)
            self._changed.wait_for(lambda: link.broken or direction not in self._held)
            return not link.broken

    def _allowed(self, direction: Direction, count: int) -> int:
        with self._changed:
            left = self._left.get(direction)
            if left is None:
                return count
            if count < left:
                self._left[direction] = left - count
                return count
            del self._left[direction]
            # One byte less than all: the pump sees by it that the connection is to be cut.
            return min(left, count - 1)

    @staticmethod
    def _break(link: _Link) -> None:
        link.broken = True
        for end in link.ends.values():
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD)
