"""A raw asyncio fan-out: what is posted is written to every open socket, as one prepared frame. It knows no rights, no
ledger and no database.
"""

import asyncio
import base64
import hashlib
import sys
from typing import cast

import uvloop

UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>"
READY = b'{"type":"ready"}'
_open: set[asyncio.Transport] = set()


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET ") and b"\r\nUpgrade: websocket\r\n" not in data:
            self.transport.write(PAGE)  # a browser's, whose socket is opened from here
        elif data.startswith(b"GET "):
            key = data.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            self.transport.write(UPGRADED % base64.b64encode(hashlib.sha1(key + GUID).digest()))
        elif data.startswith(b"POST "):
            text = data.partition(b"\r\n\r\n")[2]
            frame = b"\x81\x7e" + len(text).to_bytes(2) + text
            for one in _open:
                one.write(frame)
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:  # its hello
            _open.add(self.transport)
            self.transport.write(bytes([0x81, len(READY)]) + READY)

    def connection_lost(self, _: Exception | None) -> None:
        _open.discard(self.transport)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
