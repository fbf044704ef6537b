"""A gate in front of a server, by which one test takes a shared server away from its own processes only."""

import socket
import threading
from contextlib import suppress


class Gate:
    """Passes connections on to a port of the loopback while open. Shut: cuts and refuses. Stuck: answers no more."""

    def __init__(self, target: int) -> None:
        self.target = target  # for connections made from now on
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._refusing = False
        self.refused = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.open()
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        """Pass everything on (again)."""
        self._refusing = False
        self._flowing.set()

    def shut(self) -> None:
        """Cut every connection and take no new one."""
        self._refusing = True
        self._cut()

    def stick(self) -> None:
        """Keep every connection and pass nothing on, as a server that hangs does."""
        self._flowing.clear()

    def close(self) -> None:
        """End for good."""
        self._refusing = True
        self._listener.close()
        self._cut()
        self._flowing.set()

    def _cut(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            _hang_up(one)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                self.refused += 1
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the server was killed, and the gate is not yet shut
                self.refused += 1
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                _hang_up(one)
            with self._lock:
                self._sockets -= {source, sink}


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
