"""Load on a web server: a few connections that each ask again as soon as they are answered."""

import json
import math
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Load:
    """How long each answer took, in so many seconds in all."""

    seconds: float = 0.0
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def __add__(self, other: "Load") -> "Load":
        return Load(self.seconds + other.seconds, [*self.latencies, *other.latencies])

    def quantile(self, share: float) -> float:
        """The latency that this share of the answers does not exceed."""
        return sorted(self.latencies)[math.ceil(share * len(self.latencies)) - 1]


def load(  # noqa: PLR0913 - each is an option of the load
    port: int, path: str, bodies: Sequence[Any] = (None,), token: str = "", *, seconds: float, connections: int = 16
) -> Load:
    """Send requests for so many seconds; raises AssertionError when an answer is none of 2xx.

    A body that is bytes is a form, None is a GET, anything else goes as JSON. With two connections for each thread of
    the server no process idles while another has more of them than threads.
    """
    head = {"Host": f"127.0.0.1:{port}"}
    if token:
        head["Authorization"] = f"Token {token}"
    requests = [_request(path, body, head) for body in bodies]
    began = time.perf_counter()

    def ask(number: int) -> list[float]:
        place, latencies = number * 7, []
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        while not latencies or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            connection.sendall(requests[place % len(requests)])
            status, is_over = _answer(connection)
            assert 200 <= status < 300, f"{path} answers {status}"
            if is_over:
                connection.close()
                connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            latencies.append(time.perf_counter() - start)
            place += 1
        connection.close()
        return latencies

    with ThreadPoolExecutor(connections) as pool:
        latencies = [latency for each in pool.map(ask, range(connections)) for latency in each]
    return Load(time.perf_counter() - began, latencies)


def _request(path: str, body: Any, head: dict[str, str]) -> bytes:
    method, data = ("GET", b"") if body is None else ("POST", body)
    if not isinstance(data, bytes):
        data, head = json.dumps(data).encode(), {**head, "Content-Type": "application/json"}
    elif body is not None:
        head = {**head, "Content-Type": "application/x-www-form-urlencoded"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data


def _answer(connection: socket.socket) -> tuple[int, bool]:
    """Read one answer whole; returns its status and whether the server closes the connection.

    http.client's parsing would cost as much as the server's work.
    """
    data = _some(connection)
    end = data.find(b"\r\n\r\n")
    while end < 0:
        data += _some(connection)
        end = data.find(b"\r\n\r\n")
    head, body = data[:end].lower(), data[end + 4 :]
    if b"transfer-encoding: chunked" in head:
        while not body.endswith(b"0\r\n\r\n"):
            body += _some(connection)
    else:
        missing = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(body)
        while missing > 0:
            missing -= len(_some(connection))
    return int(head[9:12]), b"connection: close" in head


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed in the middle of an answer")
    return data
