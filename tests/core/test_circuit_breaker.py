"""The circuit breaker: open while a server is silent, closed by itself."""

import threading
import time
from collections.abc import Iterator

import pytest

from core import circuit_breaker
from core.circuit_breaker import CircuitBreaker


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "PAUSE_SECONDS", 0.001)


class Server:
    """A server that answers a probe as it is told to, and counts them."""

    def __init__(self) -> None:
        self.is_silent = False
        self.probes = 0

    def probe(self) -> bool:
        self.probes += 1
        return not self.is_silent


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.is_silent = False


def _soon_closed(breaker: CircuitBreaker) -> bool:
    end = time.monotonic() + 10
    while breaker.is_open and time.monotonic() < end:
        time.sleep(0.001)
    return not breaker.is_open


def test_it_works(server: Server) -> None:
    breaker = CircuitBreaker("It", probe=server.probe)

    assert breaker.is_answering()
    assert not breaker.is_open


def test_it_opens_for_a_silent_server_and_closes_when_it_answers(server: Server) -> None:
    breaker = CircuitBreaker("It", probe=server.probe)
    server.is_silent = True

    assert not breaker.is_answering()
    assert breaker.is_open
    server.is_silent = False

    assert _soon_closed(breaker)
    assert breaker.is_answering()


def test_opened_by_a_request_it_closes_as_soon_as_the_server_answers(server: Server) -> None:
    breaker = CircuitBreaker("It", probe=server.probe)

    breaker.open()
    breaker.open()

    assert _soon_closed(breaker)


def test_of_several_threads_one_probes(server: Server) -> None:
    breaker = CircuitBreaker("It", probe=server.probe)

    threads = [threading.Thread(target=breaker.is_answering) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert server.probes == 1
