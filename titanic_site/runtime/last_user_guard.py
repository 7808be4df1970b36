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


def end_with_parent(stop_signal: int) -> None:
    """Have the kernel send the calling process `stop_signal` when its parent dies."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, stop_signal)


def main(lock: str, users: str, stop_signal: str, account: str, fsync_directory: str, *command: str) -> int:
    """Run `command`, which holds the descriptor `lock`, until it ends or nobody holds the file `users`.

    It runs as the user with the id `account`, if one is named. The files in `fsync_directory`, if one is named, are
    synced to the disk each second.
    """
    owner = int(account) if account else None
    server = subprocess.Popen(  # noqa: S603 - no shell, and programs of this installation
        command,
        pass_fds=(int(lock),),
        user=owner,
        group=owner,
        extra_groups=None if owner is None else [],
        preexec_fn=partial(end_with_parent, int(stop_signal)),  # noqa: PLW1509 - there is no thread yet
    )

    def stop_when_unused() -> None:
        # Every user shares this lock; it can be had exclusively once the last is gone. It is kept until this process
        # ends, so that a new user waits until the server is down.
        fcntl.flock(os.open(users, os.O_RDWR), fcntl.LOCK_EX)
        server.send_signal(int(stop_signal))
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()

    threading.Thread(target=stop_when_unused, daemon=True).start()
    if fsync_directory:
        threading.Thread(target=_fsync_each_second, args=(fsync_directory,), daemon=True).start()
    return server.wait()


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


if __name__ == "__main__":
    # The caller goes on at once and never has to reap a server that outlives it.
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main(*sys.argv[1:]))
