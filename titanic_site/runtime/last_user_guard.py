"""Run one embedded server and end it when its last user is gone, even one that was killed.

Started by path, by an interpreter without site-packages: it stays small and imports nothing of the project.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial

_PR_SET_PDEATHSIG = 1
# Looked up beforehand: between fork and exec little may be done.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_STOP_SECONDS = 60
_SYNC_SECONDS = 1.0


def main(  # noqa: PLR0913 - each by its name
    *, lock: int, users: str, stop_signal: int, account: str, fsync_directory: str, command: list[str]
) -> int:
    """Run `command`, which holds the descriptor `lock`, until it ends or nobody holds the file `users`.

    The files in `fsync_directory`, if one is named, are synced to the disk each second.
    """
    owner = int(account) if account else None
    server = subprocess.Popen(
        command,
        pass_fds=(lock,),
        user=owner,
        group=owner,
        extra_groups=None if owner is None else [],
        preexec_fn=partial(end_with_parent, stop_signal),  # noqa: PLW1509 - there is no thread yet
    )
    threading.Thread(
        target=_stop_when_unused, kwargs={"users": users, "server": server, "stop_signal": stop_signal}, daemon=True
    ).start()
    if fsync_directory:
        threading.Thread(target=_fsync_each_second, args=(fsync_directory,), daemon=True).start()
    return server.wait()


def end_with_parent(stop_signal: int) -> None:
    """Have the kernel send the calling process `stop_signal` when its parent dies."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, stop_signal)


def _fsync_each_second(directory: str) -> None:
    while True:
        time.sleep(_SYNC_SECONDS)
        try:
            for entry in os.scandir(directory):
                file = os.open(entry.path, os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
        except FileNotFoundError:
            # A file may be deleted meanwhile.
            continue
        except OSError as error:
            # A full disk has no room for this either.
            with suppress(OSError):
                sys.stderr.write(f"cannot sync {directory}: {error}\n")


def _stop_when_unused(*, users: str, server: subprocess.Popen[bytes], stop_signal: int) -> None:
    # Every user shares this lock; it can be had exclusively once the last is gone. It is kept until this process ends,
    # so that a new user waits until the server is down.
    fcntl.flock(os.open(users, os.O_RDWR), fcntl.LOCK_EX)
    server.send_signal(stop_signal)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    # The caller goes on at once and never has to reap a server that outlives it.
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, lock_fd, users_path, signal_number, account_id, fsync_path, *server_command = sys.argv
    sys.exit(
        main(
            lock=int(lock_fd),
            users=users_path,
            stop_signal=int(signal_number),
            account=account_id,
            fsync_directory=fsync_path,
            command=server_command,
        )
    )
