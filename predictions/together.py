"""What several callers ask at the same time, scored and logged in one go."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from threading import Condition
from typing import Any, NamedTuple

from django.db import close_old_connections
from django.http import HttpResponse
from rest_framework.request import Request

from predictions import scorer, services
from predictions.services import Answer, Question
from titanic_site.lib.plain import written
from titanic_site.lib.renderers import JSONRenderer

logger = logging.getLogger(__name__)

#: Where in a request's environ a server that can wait for the answer's content lays a `Later`.
LATER = "titanic.later"
#: So many callers are answered at a time, and so many addresses are known for questions.
MOST, _MOST_PATHS = 32, 32
#: How long (seconds) those who wait may be kept for the sake of those who are about to come.
PATIENCE = 0.01


class Asked(NamedTuple):
    """A question, and what is told of its answers, as JSON."""

    question: Question
    tell: Callable[[list[Answer]], Any]

    def content(self, answers: list[Answer]) -> bytes:
        """The response's content."""
        return JSONRenderer().render(self.tell(answers))


@dataclass(slots=True)
class Later:
    """Where a request leaves what it asks; others may wait for one that `is_expected`."""

    path: str
    is_expected: bool
    asked: Asked | None = None
    #: Told the answer's status, by whoever counts requests.
    count: Callable[[int], object] = lambda _status: None

    def is_left(self, status: int) -> bool:
        """Whether a response of this status has its content still to be made."""
        return self.asked is not None and status < HTTPStatus.BAD_REQUEST


def answered(request: Request, asked: Asked, *, status: int = 200) -> HttpResponse:
    """The response; empty where the server makes its content later, by a `Desk`. Raises Unavailable."""
    later: Later | None = request.META.get(LATER)
    if later is None:
        return written(asked.tell(services.answer(asked.question)), status=status)
    # Whoever cannot be answered is told so as usual.
    scorer.current()
    later.asked = asked
    return written(None, status=status)


class _Waiting(NamedTuple):
    """Somebody who asked, how they are told the content, or why there is none, and whether they have given up."""

    asked: Asked
    hear: Callable[[bytes | Exception], object]
    is_over: Callable[[], bool]

    def tell(self, outcome: bytes | Exception) -> None:
        try:
            self.hear(outcome)
        except Exception:
            # The others must hear nevertheless.
            logger.exception("somebody could not be told an answer")


class Desk:
    """Where the threads of a process leave what is asked; one more thread answers, when somebody waits.

    While others are about to come it waits for them, though not for long; in the meantime the threads go on with the
    next request. So a busy process scores and logs several at a time, and an idle one waits for nobody. For one
    passenger the model costs four times what it costs with others: its trees are no longer in the processor's cache.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[_Waiting] = []
        self._paths: set[str] = set()
        self._coming = 0
        self._clerk = ThreadPoolExecutor(1, "desk")
        self._is_manned = False

    def expect(self, path: str) -> Later:
        """Where a request may leave its question; a thread will call `arrive` for it.

        Others wait for it only where questions were left before.
        """
        with self._changed:
            later = Later(path, is_expected=path in self._paths)
            self._coming += later.is_expected
        return later

    def arrive(self, later: Later) -> None:
        """Say that a thread has begun with a request: nobody waits for it any more."""
        with self._changed:
            self._coming -= later.is_expected
            if self._waiting and self._is_ready():
                self._changed.notify()

    def leave(self, later: Later, hear: Callable[[bytes | Exception], object], is_over: Callable[[], bool]) -> None:
        """Have a question answered, if by then it is not over."""
        assert later.asked is not None
        with self._changed:
            self._waiting.append(_Waiting(later.asked, hear, is_over))
            if len(self._paths) < _MOST_PATHS:
                self._paths.add(later.path)
            if not self._is_manned:
                self._is_manned = True
                self._clerk.submit(self._answer_all)
            elif self._is_ready():
                self._changed.notify()

    def _answer_all(self) -> None:
        while group := self._next():
            _answer([waiting for waiting in group if not waiting.is_over()])

    def _next(self) -> list[_Waiting]:
        with self._changed:
            if self._waiting:
                self._changed.wait_for(self._is_ready, PATIENCE)
            group = self._waiting[:MOST]
            del self._waiting[:MOST]
            self._is_manned = bool(group)
            return group

    def _is_ready(self) -> bool:
        return not self._coming or len(self._waiting) >= MOST


def _answer(group: Sequence[_Waiting]) -> None:
    """Tell each what is answered, or why nothing is."""
    try:
        # What Django does before each request: this thread has none.
        close_old_connections()
        answers, entries = services.score([waiting.asked.question for waiting in group])
    # Whatever it is, it is told to those alone whose question it is.
    except Exception as error:  # noqa: BLE001
        if len(group) == 1:
            group[0].tell(error)
        else:
            for waiting in group:
                _answer([waiting])
        return
    try:
        services.record(entries)
    except Exception as error:  # noqa: BLE001
        for waiting in group:
            waiting.tell(error)
        return
    for waiting, found in zip(group, answers, strict=True):
        waiting.tell(_content(waiting.asked, found))


def _content(asked: Asked, answers: list[Answer]) -> bytes | Exception:
    try:
        return asked.content(answers)
    except Exception as error:  # noqa: BLE001
        return error
