"""What several callers ask at the same time, scored and logged in one go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from django.http import HttpResponse
from rest_framework.request import Request

from predictions import scorer, services
from predictions.services import Answer, Question
from titanic_site.lib.errors import TitanicError
from titanic_site.lib.plain import written
from titanic_site.lib.renderers import JSONRenderer

#: Where in a request's environ a server that can wait for the answer's content lays a `Later`.
LATER = "titanic.later"
#: So many callers are answered at a time, and so many addresses are known for questions.
MOST, _MOST_PATHS = 32, 32


class Asked(NamedTuple):
    """A question, and what is told of its answers, as JSON."""

    question: Question
    tell: Callable[[list[Answer]], Any]

    def content(self, answers: list[Answer]) -> bytes:
        """The response's content."""
        return JSONRenderer().render(self.tell(answers))


@dataclass(slots=True)
class Later:
    """Where a request leaves what it asks; `is_expected` as long as others wait for it."""

    path: str
    is_expected: bool
    asked: Asked | None = None


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
    """Somebody who asked, and how they are told: the content, or why there is none."""

    asked: Asked
    hear: Callable[[bytes | Exception], object]


class Desk:
    """Where the threads of a process leave what is asked.

    Whoever finds that nobody else is about to come, and nobody at it, answers all who wait; the others go on with the
    next request. So a busy process scores and logs several at a time, and an idle one waits for nobody. For one
    passenger the model costs four times what it costs with others: its trees are no longer in the processor's cache.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[_Waiting] = []
        self._paths: set[str] = set()
        self._coming = 0
        self._is_taken = False

    def expect(self, path: str) -> Later:
        """Where a request may leave its question: a thread will call `arrive` for it and, at its end, `settle`.

        Others wait for it only where questions were left before: what else is sent may take long.
        """
        with self._lock:
            later = Later(path, is_expected=path in self._paths)
            self._coming += later.is_expected
        return later

    def arrive(self, later: Later) -> None:
        """Say that a thread has begun with a request."""
        with self._lock:
            self._coming -= later.is_expected
            later.is_expected = False

    def leave(self, later: Later, hear: Callable[[bytes | Exception], object]) -> None:
        """Have a question answered by this thread's `settle`, or another's."""
        assert later.asked is not None
        with self._lock:
            self._waiting.append(_Waiting(later.asked, hear))
            if len(self._paths) < _MOST_PATHS:
                self._paths.add(later.path)

    def settle(self) -> None:
        """Answer those who wait, unless more are about to come or somebody is at it."""
        while group := self._take():
            try:
                _answer(group)
            finally:
                self._is_taken = False

    def _take(self) -> list[_Waiting]:
        with self._lock:
            if self._is_taken or (self._coming and len(self._waiting) < MOST):
                return []
            group = self._waiting[:MOST]
            del self._waiting[: len(group)]
            self._is_taken = bool(group)
            return group


def _answer(group: Sequence[_Waiting]) -> None:
    try:
        answers = services.answer_all([waiting.asked.question for waiting in group])
    except TitanicError as error:
        for waiting in group:
            waiting.hear(error)
    # Whatever it is: those who wait must hear of it, and only those whose question it is.
    except Exception as error:  # noqa: BLE001
        if len(group) == 1:
            group[0].hear(error)
        else:
            for waiting in group:
                _answer([waiting])
    else:
        for waiting, found in zip(group, answers, strict=True):
            waiting.hear(_content(waiting.asked, found))


def _content(asked: Asked, answers: list[Answer]) -> bytes | Exception:
    try:
        return asked.content(answers)
    except Exception as error:  # noqa: BLE001
        return error
