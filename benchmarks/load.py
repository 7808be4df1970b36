"""Load on a web server: a few connections that each ask again as soon as they are answered."""

import json
import math
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Load:
    """What was asked in how many seconds, and how long each answer took (seconds)."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def __add__(self, other: "Load") -> "Load":
        statuses = {
            status: self.statuses.get(status, 0) + other.statuses.get(status, 0)
            for status in self.statuses | other.statuses
        }
        return Load(self.seconds + other.seconds, self.latencies + other.latencies, statuses)

    def quantile(self, share: float) -> float:
        """The latency that this share of the answers does not exceed."""
        return sorted(self.latencies)[math.ceil(share * len(self.latencies)) - 1]


def post(  # noqa: PLR0913
    port: int, path: str, bodies: Sequence[Any], *, token: str = "", seconds: float, connections: int
) -> Load:
    """Ask for so many seconds; raises AssertionError when an answer is none of 2xx."""
    head = {"Connection": "keep-alive", "Host": f"127.0.0.1:{port}"}
    if token:
        head["Authorization"] = f"Token {token}"
    requests = [_request(path, body, head) for body in bodies]
    load, lock = Load(0.0), threading.Lock()
    end = time.perf_counter() + seconds

    def ask(first: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        place, latencies, statuses = first, [], {}
        while time.perf_counter() < end:
            began = time.perf_counter()
            connection.sendall(requests[place % len(requests)])
            status, is_over = _answer(connection)
            if is_over:
                connection.close()
                connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            latencies.append(time.perf_counter() - began)
            statuses[status] = statuses.get(status, 0) + 1
            place += 1
        connection.close()
        with lock:
            load.latencies += latencies
            for status, count in statuses.items():
                load.statuses[status] = load.statuses.get(status, 0) + count

    threads = [threading.Thread(target=ask, args=(number * 7,)) for number in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - began
    assert load.latencies, "nothing was answered"
    assert all(200 <= status < 300 for status in load.statuses), load.statuses
    return load


def _request(path: str, body: Any, head: dict[str, str]) -> bytes:
    """A body that is bytes is a form, anything else goes as JSON."""
    is_form = isinstance(body, bytes)
    kind = "application/x-www-form-urlencoded" if is_form else "application/json"
    body, head = body if is_form else json.dumps(body).encode(), {**head, "Content-Type": kind}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _answer(connection: socket.socket) -> tuple[int, bool]:
    """Read one answer whole; returns its status and whether the server closes the connection.

    http.client's parsing would cost as much as the server's work.
    """
    data = _some(connection)
    end = data.find(b"\r\n\r\n")
    while end < 0:
        data += _some(connection)
        end = data.find(b"\r\n\r\n")
    head = data[:end].lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    missing = length - (len(data) - end - 4)
    while missing > 0:
        missing -= len(_some(connection))
    return int(head[9:12]), b"connection: close" in head


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed in the middle of an answer")
    return data
