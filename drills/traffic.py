"""Clients that request predictions all the time, one that watches /healthz, and what they saw."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx

#: What a client waits for an answer.
CLIENT_SECONDS = 15.0
_PAUSE_SECONDS = 0.1
PASSENGERS = (
    {"pclass": 1, "sex": "female", "age": 29, "fare": 211.3375, "embarked": "S", "cabin": "B5"},
    {"pclass": 3, "sex": "male", "age": 22, "fare": 7.25, "embarked": "S"},
    {"pclass": 2, "sex": "male"},
)


@contextmanager
def concurrently(bodies: Iterable[Callable[[], None]], *, is_over: threading.Event) -> Iterator[None]:
    """Run each of these in a thread of its own while the body runs; then `is_over` tells them to end."""
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Answer:
    """One answer, or none: `status` is 0 where the connection broke or the client gave up."""

    sent_at: float
    answered_at: float
    status: int
    id: str = ""
    #: What the answer says, or what broke, where it is no prediction.
    reason: str = ""

    @property
    def seconds(self) -> float:
        return self.answered_at - self.sent_at


@dataclass
class Traffic:
    """What a product answered, by the monotonic clock."""

    url: str
    token: str
    clients: int = 6
    predictions: list[Answer] = field(default_factory=list)
    health: list[Answer] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the body runs."""
        clients = (partial(self._predict, number) for number in range(self.clients))
        with concurrently([*clients, self._watch], is_over=self._is_over):
            yield

    @property
    def errors(self) -> list[Answer]:
        return [answer for answer in self.predictions if answer.status != 201]

    @property
    def acknowledged(self) -> set[str]:
        return {answer.id for answer in self.predictions if answer.status == 201}

    def slowest_health(self, *, since: float, until: float = float("inf")) -> float:
        """Return the longest wait (seconds) for /healthz among those asked for between two moments."""
        return max((answer.seconds for answer in self.health if since <= answer.sent_at < until), default=0.0)

    def _predict(self, number: int) -> None:
        while not self._is_over.wait(_PAUSE_SECONDS):
            self.predictions.append(self._request("POST", "/api/v1/predictions/", PASSENGERS[number % 3]))

    def _watch(self) -> None:
        while not self._is_over.wait(_PAUSE_SECONDS):
            self.health.append(self._request("GET", "/healthz"))

    def _request(self, method: str, path: str, body: dict[str, object] | None = None) -> Answer:
        sent_at = time.monotonic()
        try:
            # A connection for each: any process may answer.
            response = httpx.request(
                method, self.url + path, json=body, headers={"Authorization": f"Token {self.token}"},
                timeout=CLIENT_SECONDS, trust_env=False,
            )  # fmt: skip
        except httpx.TransportError as error:
            return Answer(sent_at, time.monotonic(), 0, reason=type(error).__name__)
        if response.status_code != 201:
            return Answer(
                sent_at, time.monotonic(), response.status_code, reason=f"{response.status_code} {response.text[:200]}"
            )
        return Answer(sent_at, time.monotonic(), response.status_code, response.json()["id"])
