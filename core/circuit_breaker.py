"""A circuit breaker for a server that may stop answering while its kernel still takes connections."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: How long (seconds) an answer proves that the server is alive.
PROOF_SECONDS = 1.0
#: The pause (seconds) between two probes of a silent server.
PAUSE_SECONDS = 0.5


class CircuitBreaker:
    """Open from when a server was found silent until it answers again, which a thread of its own finds out.

    `probe` returns False when the server does not answer in time; an error, such as a refused connection, is an answer.
    """

    def __init__(self, title: str, *, probe: Callable[[], bool]) -> None:
        self.is_open = False
        self._title = title
        self._probe = probe
        self._lock = threading.Lock()
        self._answered_at = float("-inf")

    def is_answering(self) -> bool:
        """Tell whether the server answers: one thread probes it, and opens the circuit when it does not."""
        with self._lock:
            if not self.is_open and time.monotonic() - self._answered_at > PROOF_SECONDS:
                if self._probe():
                    self._answered_at = time.monotonic()
                else:
                    self._open()
            return not self.is_open

    def open(self) -> None:
        """Open the circuit: a request has waited for the server in vain."""
        with self._lock:
            self._open()

    def _open(self) -> None:
        if not self.is_open:
            self.is_open = True
            logger.error("%s does not answer: requests do without it until it does", self._title)
            threading.Thread(target=self._close_when_answered, daemon=True, name=f"probe {self._title}").start()

    def _close_when_answered(self) -> None:
        while not self._probe():
            time.sleep(PAUSE_SECONDS)
        self._answered_at = time.monotonic()
        self.is_open = False
        logger.warning("%s answers again", self._title)
