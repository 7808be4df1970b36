"""A training in a process of its own: it may use every core, stays within its limits, and gives its memory back.

In a prefork worker joblib's processes become one job or hang; here they do not. The process runs
`python -m training.subprocess_training SPEC DASK_SCHEDULER FOLDER`: it reads the examples from the folder, reports its
progress line by line, and writes the model there.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

import msgspec
import psutil

from core.messages import Message, of_error
from training.training_data import Examples
from training.training_spec import Progress, TrainedModel, TrainingSpec

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[1]
#: How often (seconds) the limits are checked and the caller, who may cancel, gets a report.
_HEARTBEAT_SECONDS = 0.5
#: The time that a Dask scheduler has to answer, unless the installation sets Dask's own variable.
_DASK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}
_EXPECTED_FAILURE = 3
_LONGEST_ERROR = 2000
# One thread for each linear algebra call: the order of a sum, and so its last bits, follow the number of threads.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class TrainingError(RuntimeError):
    """The training failed; the text says why."""


@dataclass(frozen=True)
class Limits:
    """What a training may take, all its processes together."""

    seconds: float
    memory_bytes: int


def fit(
    spec: TrainingSpec,
    examples: Examples,
    *,
    limits: Limits,
    report: Callable[[Progress], None],
    dask_scheduler: str = "",
) -> TrainedModel:
    """Train in another process; raises TrainingError, or what `report` raises, after the process is gone."""
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = Path(name)
        examples.save(folder / "examples.npz")
        arguments = [msgspec.json.encode(spec).decode(), dask_scheduler, name]
        with (folder / "errors").open("w+b") as errors, _started(arguments, errors) as process:
            _watch(process, limits=limits, report=report)
            code = process.wait()
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
        if code:
            # An expected one is a message, on one line.
            reason = Message.load(text.rpartition("\n")[2])
            if code != _EXPECTED_FAILURE:
                reason = Message(reason.text[:_LONGEST_ERROR])
                logger.error("a training ended with code %s: %s", code, text)
                ended_by = signal.Signals(-code).name if code < 0 else f"code {code}"
                reason = reason or Message("its process was ended by %(cause)s") % {"cause": ended_by}
            raise TrainingError(reason)
        return msgspec.msgpack.decode((folder / "model").read_bytes(), type=TrainedModel)


@contextmanager
def _started(arguments: list[str], errors: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    folder = arguments[-1]
    with subprocess.Popen(  # noqa: S603 - no shell, and programs of this installation
        [sys.executable, "-m", "training.subprocess_training", *arguments],
        bufsize=0,
        cwd=_ROOT,
        env={**_DASK, **os.environ, **_ONE_THREAD, "JOBLIB_TEMP_FOLDER": folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            # joblib's processes belong to its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _watch(process: "subprocess.Popen[bytes]", *, limits: Limits, report: Callable[[Progress], None]) -> None:
    """Report the process's progress until it ends; raises TrainingError when it exceeds a limit."""
    assert process.stdout is not None
    last, ends_at = Progress(0), time.monotonic() + limits.seconds
    while True:
        if wait([process.stdout.fileno()], _HEARTBEAT_SECONDS):
            line = process.stdout.readline()
            if not line:
                return
            last = msgspec.json.decode(line, type=Progress)
        report(last)
        if time.monotonic() > ends_at:
            message = Message("it took more than the %(seconds)s seconds that a training may take")
            raise TrainingError(message % {"seconds": round(limits.seconds)})
        used = _memory(process.pid)
        if used > limits.memory_bytes:
            message = Message("it took %(used)s MB of memory, more than the %(most)s MB it may take")
            raise TrainingError(message % {"used": used // 2**20, "most": limits.memory_bytes // 2**20})


def _memory(pid: int) -> int:
    """Count the bytes in memory of a process and all below it."""
    used = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += each.memory_info().rss
    return used


def main(spec: TrainingSpec, dask_scheduler: str, folder: Path) -> None:
    """Run in the process of its own: train, report on stdout, write the model, or to stderr why there is none."""
    import joblib

    from training import fitting
    from training.export import ExportError
    from training.folds import NotEnoughData

    progress_stream = os.fdopen(os.dup(1), "wb", buffering=0)
    # What libraries print goes to stderr: stdout is for progress only.
    os.dup2(2, 1)

    def end_with_parent() -> None:
        # The pipe ends when the worker dies, however it dies; nobody would take the model.
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    def report(progress: Progress) -> None:
        progress_stream.write(msgspec.json.encode(progress) + b"\n")

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        with joblib.parallel_config("loky", n_jobs=-1), _cluster(dask_scheduler) as cluster:
            model = fitting.fit(spec, Examples.load(folder / "examples.npz"), report=report, search_on=cluster)
    except (NotEnoughData, ExportError, _SchedulerUnavailable) as error:
        sys.stderr.write(f"\n{of_error(error).dump()}")
        sys.exit(_EXPECTED_FAILURE)
    (folder / "model").write_bytes(msgspec.msgpack.encode(model))


class _SchedulerUnavailable(RuntimeError):
    pass


@contextmanager
def _cluster(dask_scheduler: str) -> Iterator[AbstractContextManager[object] | None]:
    """Connect to a Dask cluster, if there is one, and yield joblib's configuration for it."""
    if not dask_scheduler:
        yield None
        return
    import joblib
    from distributed import Client

    try:
        client = Client(dask_scheduler)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        message = Message("no Dask scheduler answers at %(address)s (DASK_SCHEDULER): %(reason)s")
        raise _SchedulerUnavailable(message % {"address": dask_scheduler, "reason": error}) from error
    with client:
        yield joblib.parallel_config("dask")


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=TrainingSpec), sys.argv[2], Path(sys.argv[3]))
