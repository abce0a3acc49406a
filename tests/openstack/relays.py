"""Carries TCP between the machine's loopback and that of a node's namespace, so that both know an address by itself."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.integration.networks.namespaces import Namespace

_DIAL_SECONDS = 10.0
_CHUNK_BYTES = 65536


class Relay:
    def __init__(self, port: int, *, listens_in: Namespace | None = None, dials_in: Namespace | None = None) -> None:
        """None is the machine's own namespace. On 127.0.0.1 on both sides."""

        def inside(place: Namespace | None, work: Callable[[], socket.socket]) -> socket.socket:
            return place.run(work) if place else work()

        self._server = inside(listens_in, lambda: socket.create_server(("127.0.0.1", port)))
        self._dial = lambda: inside(dials_in, lambda: socket.create_connection(("127.0.0.1", port), _DIAL_SECONDS))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near:
            try:
                far = self._dial()
            except OSError:
                return
            with far:
                far.settimeout(None)
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
        return
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
