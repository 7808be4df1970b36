"""A TCP port in front of a server that can become a black hole: nothing comes through or is refused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BACKLOG = 128


class Link:
    """Forwards connections until it is cut; a cut one keeps its connections and takes no new ones.

    The server is known by its Unix socket, or by its port on this machine.
    """

    def __init__(self, server: Path | int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._is_whole = threading.Event()
        self._is_whole.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Let nothing through while the body runs; then what was under way goes on."""
        self._is_whole.clear()
        # The kernel drops packets of further connections as soon as one waits.
        self._listener.listen(0)
        try:
            yield
        finally:
            self._listener.listen(_BACKLOG)
            self._is_whole.set()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._is_whole.wait()
            is_port = isinstance(self._server, int)
            server = socket.socket(socket.AF_INET if is_port else socket.AF_UNIX)
            try:
                server.connect(("127.0.0.1", self._server) if is_port else str(self._server))
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while text := source.recv(65_536):
                self._is_whole.wait()
                sink.sendall(text)
        # That one side has closed does not come through either.
        self._is_whole.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
