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

_POLL_SECONDS = 0.2
_CALLBACK_SECONDS = 1.0
# While the system starts, the supervisor gives up when a program exits more often within the window.
_MAX_EXITS, _EXIT_WINDOW_SECONDS = 5, 60
_MAX_BACKOFF_SECONDS = 8.0

Echo = Callable[[str], object]
T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """A command to keep running, and how to stop it."""

    name: str
    command: tuple[str, ...]
    #: The signals that stop it, each with the seconds until the next one; the last is followed by SIGKILL.
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0),)
    #: What the kernel sends it when the supervisor itself is killed.
    parent_death_signal: signal.Signals = signal.SIGTERM
    #: Takes the time it was started at (monotonic), and tells whether it runs without doing its work.
    is_hung: Callable[[float], bool] = lambda _started_at: False


class Supervisor:
    """Runs programs until a signal stops it, or until one exits too often while `is_starting()`.

    All programs are started at once, and stopped stage by stage: the first stage has exited before the second is
    stopped. The functions in `every_second` are called once a second.
    """

    def __init__(
        self,
        *,
        stages: Sequence[Sequence[Program]],
        directory: Path,
        echo: Echo,
        every_second: Sequence[Callable[[], object]] = (),
        is_starting: Callable[[], bool] = lambda: True,
    ) -> None:
        self._stages = [[_Child(program, directory=directory) for program in stage] for stage in stages]
        self._children = [child for stage in self._stages for child in stage]
        self._every_second = every_second
        self._is_starting = is_starting
        self._echo = echo
        self._failing_keys: set[object] = set()
        self._stop_requested = threading.Event()
        self._signal_count = 0

    def run(self) -> int:
        """Supervise; returns the exit code: 0 after a signal, 1 when a program exited too often."""
        with self._handle_signals():
            try:
                return self._supervise()
            finally:
                self._stop_all()

    def _supervise(self) -> int:
        for child in self._children:
            self._attempt(child.start, key=child)
        next_call_at = 0.0
        while not self._stop_requested.wait(_POLL_SECONDS):
            if time.monotonic() >= next_call_at:
                for call in self._every_second:
                    self._attempt(call, key=call)
                next_call_at = time.monotonic() + _CALLBACK_SECONDS
            for child in self._children:
                if self._attempt(partial(self._keep_running, child), key=child) is False:
                    return 1
        return 0

    def _attempt(self, call: Callable[[], T], *, key: object) -> T | None:
        """Call; a failure gives None, and is printed unless the last call under this key failed too."""
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - a full disk raises any error, and none may end it
            if key not in self._failing_keys:
                self._failing_keys.add(key)
                self._print(f"{str(error) or repr(error)} Trying again until it works.")
            return None
        self._failing_keys.discard(key)
        return result

    def _print(self, text: str) -> None:
        # Standard output may be a file on a full disk.
        with contextlib.suppress(OSError):
            self._echo(text)

    def _keep_running(self, child: "_Child") -> bool:
        """Restart a child that has exited, stop one that hangs; return False when the supervisor gives up."""
        name = child.program.name
        if child.reap():
            count = child.recent_exit_count()
            if count > _MAX_EXITS and self._is_starting():
                self._print(
                    f"{name} died {count} times within a minute, the last time with code {child.exit_code}. Stopping."
                )
                return False
            self._print(f"{name} ended with code {child.exit_code}, restarting it")
        elif child.is_restart_due():
            child.start()
        elif child.is_running and not child.is_stopping and child.program.is_hung(child.started_at):
            self._print(f"{name} does not answer, restarting it")
            child.begin_stop()
        child.continue_stop()
        return True

    def _stop_all(self) -> None:
        for stage in self._stages:
            for child in stage:
                child.begin_stop()
            while any(child.is_running for child in stage):
                for child in stage:
                    # A second signal, such as another Ctrl-C, does not wait.
                    child.continue_stop(is_urgent=self._signal_count > 1)
                time.sleep(_POLL_SECONDS / 10)
            for child in stage:
                child.kill_group()

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _request_stop(self, _number: int, _frame: object) -> None:
        self._signal_count += 1
        self._stop_requested.set()


class _Child:
    """A program's process, and when its processes exited."""

    def __init__(self, program: Program, *, directory: Path) -> None:
        self.program = program
        self.started_at = 0.0
        self.exit_code: int | None = None
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_times: deque[float] = deque(maxlen=_MAX_EXITS + 1)
        self._restart_at = 0.0
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
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - no shell, and programs of this installation
            self.program.command,
            stdin=subprocess.DEVNULL,
            cwd=self._directory,
            process_group=0,
            preexec_fn=partial(end_with_parent, self.program.parent_death_signal),  # noqa: PLW1509 - we run no threads
        )

    def reap(self) -> bool:
        """Kill the rest of the group and plan the restart, if the process has exited; return whether it has."""
        if self._process is None or self._process.poll() is None:
            return False
        self.exit_code = self._process.returncode
        self.kill_group()
        self._exit_times.append(time.monotonic())
        self._restart_at = time.monotonic() + min(2.0 ** (self.recent_exit_count() - 2), _MAX_BACKOFF_SECONDS)
        return True

    def kill_group(self) -> None:
        """Kill the processes that an exited one left behind in its group."""
        self._signal_group(signal.SIGKILL)
        self._process = None

    def recent_exit_count(self) -> int:
        return sum(time.monotonic() - exited_at < _EXIT_WINDOW_SECONDS for exited_at in self._exit_times)

    def is_restart_due(self) -> bool:
        """Tell whether no process runs and the pause before the next is over."""
        return self._process is None and time.monotonic() >= self._restart_at

    def begin_stop(self) -> None:
        """Begin to stop it: `continue_stop` sends one signal after the other until it has exited."""
        self._stop_signals = iter(self.program.stop_signals)
        self._next_signal_at = 0.0

    def continue_stop(self, *, is_urgent: bool = False) -> None:
        """Send the next signal when the time of the last one is over; SIGKILL at once if `is_urgent`."""
        if self._stop_signals is None or not self.is_running:
            return
        if is_urgent:
            self._signal_group(signal.SIGKILL)
        elif time.monotonic() >= self._next_signal_at:
            number, seconds = next(self._stop_signals, (signal.SIGKILL, 0.0))
            self._next_signal_at = time.monotonic() + seconds
            if number == signal.SIGKILL:
                self._signal_group(number)
            elif self._process is not None:
                # Not to the group: the process stops its own workers.
                self._process.send_signal(number)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
