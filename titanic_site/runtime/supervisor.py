"""Keep a few programs running: start, restart and stop them, and leave no process behind."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from titanic_site.runtime.last_user_guard import end_with_parent

_LOOK_SECONDS = 0.2
_PERIOD_SECONDS = 1.0
_MAX_DEATHS = 5
_WITHIN_SECONDS = 60
_MAX_PAUSE = 8.0
_KILL = ((signal.SIGKILL, 0.0),)

Say = Callable[[str], object]
T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """One command line to keep running, and how to end it."""

    name: str
    command: tuple[str, ...]
    #: Signals in order, each with the seconds it is given; after the last comes SIGKILL.
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0),)
    #: What the kernel sends it when the supervisor itself is killed.
    orphan_signal: signal.Signals = signal.SIGTERM
    #: Tells whether it stopped doing its work though it lives, given the time it was started at.
    is_hung: Callable[[float], bool] = lambda _started_at: False


class Supervisor:
    """Runs programs until it is told to stop, or until one keeps dying while `is_starting`.

    `stages` is the order of the end: the first stage is stopped, and waited for, before the second. `every_second` are
    called once a second.
    """

    def __init__(
        self,
        *,
        stages: Sequence[Sequence[Program]],
        directory: Path,
        say: Say,
        every_second: Sequence[Callable[[], object]] = (),
        is_starting: Callable[[], bool] = lambda: True,
    ) -> None:
        self._stages = [[_Child(program, directory=directory) for program in stage] for stage in stages]
        self._children = [child for stage in self._stages for child in stage]
        self._every_second = every_second
        self._is_starting = is_starting
        self._print = say
        self._failing: set[object] = set()
        self._stop_requested = threading.Event()
        self._signal_count = 0

    def run(self) -> int:
        """Supervise; returns the exit code: 0 when asked to stop, 1 when a program kept dying."""
        with self._signals():
            try:
                return self._supervise()
            finally:
                self._stop_all()

    def _supervise(self) -> int:
        for child in self._children:
            self._attempt(child.start, of=child)
        call_at = 0.0
        while not self._stop_requested.wait(_LOOK_SECONDS):
            if time.monotonic() >= call_at:
                for call in self._every_second:
                    self._attempt(call, of=call)
                call_at = time.monotonic() + _PERIOD_SECONDS
            for child in self._children:
                if self._attempt(partial(self._check, child), of=child) is False:
                    return 1
        return 0

    def _attempt(self, act: Callable[[], T], *, of: object) -> T | None:
        """Call something that is called again and again; print a failure once, until it works again."""
        try:
            result = act()
        except Exception as error:  # noqa: BLE001 - a full disk shows as any error, and none may end what runs
            if of not in self._failing:
                self._failing.add(of)
                self._say(f"{str(error) or repr(error)} Trying again until it works.")
            return None
        self._failing.discard(of)
        return result

    def _say(self, text: str) -> None:
        # Standard output may be a file on a full disk.
        with contextlib.suppress(OSError):
            self._print(text)

    def _check(self, child: "_Child") -> bool:
        """Start a child that is down, stop one that hangs; return False when it dies too often to ever start."""
        name = child.program.name
        if child.has_just_ended():
            deaths = child.recent_deaths()
            if deaths > _MAX_DEATHS and self._is_starting():
                self._say(
                    f"{name} died {deaths} times within a minute, the last time with code {child.code}. Stopping."
                )
                return False
            self._say(f"{name} ended with code {child.code}, restarting it")
        elif child.is_due():
            child.start()
        elif child.is_running and not child.is_stopping and child.program.is_hung(child.started_at):
            self._say(f"{name} does not answer, restarting it")
            child.begin_stop()
        child.continue_stop()
        return True

    def _stop_all(self) -> None:
        for stage in self._stages:
            for child in stage:
                child.begin_stop()
            while any(child.is_running for child in stage):
                for child in stage:
                    child.continue_stop(is_urgent=self._signal_count > 1)
                time.sleep(_LOOK_SECONDS / 10)
            for child in stage:
                child.kill_group()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request_stop(self, _number: int, _frame: object) -> None:
        self._signal_count += 1
        self._stop_requested.set()


class _Child:
    """A program's process, and what became of the ones before it."""

    def __init__(self, program: Program, *, directory: Path) -> None:
        self.program = program
        self.started_at = 0.0
        self.code: int | None = None
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: deque[float] = deque(maxlen=_MAX_DEATHS + 1)
        self._start_at = 0.0
        self._stop_signals: Iterator[tuple[signal.Signals, float]] | None = None
        self._next_signal_at = 0.0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_stopping(self) -> bool:
        return self._stop_signals is not None

    def start(self) -> None:
        """Start it in a process group of its own: Ctrl-C in the terminal reaches the supervisor alone."""
        self._stop_signals = None
        self.started_at = time.time()
        self._process = subprocess.Popen(
            self.program.command,
            stdin=subprocess.DEVNULL,
            cwd=self._directory,
            process_group=0,
            preexec_fn=partial(end_with_parent, self.program.orphan_signal),  # noqa: PLW1509 - we run no threads
        )

    def has_just_ended(self) -> bool:
        """Tell whether it ended since the last look, and kill what its process left behind."""
        if self._process is None or self._process.poll() is None:
            return False
        self.code = self._process.returncode
        self.kill_group()
        self._deaths.append(time.monotonic())
        self._start_at = time.monotonic() + min(2.0 ** (self.recent_deaths() - 2), _MAX_PAUSE)
        return True

    def kill_group(self) -> None:
        """Kill what an ended process left behind in its group."""
        self._signal_group(signal.SIGKILL)
        self._process = None

    def recent_deaths(self) -> int:
        return sum(time.monotonic() - death < _WITHIN_SECONDS for death in self._deaths)

    def is_due(self) -> bool:
        """Tell whether it is down and its pause is over."""
        return self._process is None and time.monotonic() >= self._start_at

    def begin_stop(self) -> None:
        """Begin to stop it: `continue_stop` sends one signal after the other until it is gone."""
        self._stop_signals = iter((*self.program.stop_signals, *_KILL))
        self._next_signal_at = 0.0

    def continue_stop(self, *, is_urgent: bool = False) -> None:
        """Send the next signal when the last one had its time; where it is urgent, SIGKILL at once."""
        if self._stop_signals is None or not self.is_running:
            return
        if is_urgent:
            self._signal_group(signal.SIGKILL)
        elif time.monotonic() >= self._next_signal_at:
            number, seconds = next(self._stop_signals, _KILL[0])
            self._next_signal_at = time.monotonic() + seconds
            if number == signal.SIGKILL:
                self._signal_group(number)
            elif self._process is not None:
                # It stops its own workers.
                self._process.send_signal(number)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
