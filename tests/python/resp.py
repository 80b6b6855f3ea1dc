"""RESP by hand: every reply with its type, where redis-py would hide it.

```text
+OK  ("+", b"OK")     :7  (":", 7)        *2 ...  ("*", [reply, reply])
$-1  ("$", None)      _   ("_", None)     %1 ...  ("%", [key, value])
```
Not here: what redis-py makes of replies (`test_redis_clients.py`).
"""

from __future__ import annotations

import socket

AGGREGATES = {"*": 1, "~": 1, ">": 1, "%": 2}


def encode(*arguments: bytes | str | int) -> bytes:
    """One request."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


class Wire:
    """A connection that sends bytes and reads typed replies."""

    def __init__(self, port: int, protocol: int = 2, timeout: float = 20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        if protocol == 3:
            self.ask("HELLO", 3)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, *arguments: bytes | str | int) -> tuple:
        """The reply to one command."""
        self.send(encode(*arguments))
        return self.read()

    def read(self) -> tuple:
        """The next reply; ConnectionError if the server hung up."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended after {line!r}")
        kind, text = chr(line[0]), line[1:-2]
        if kind in AGGREGATES:
            count = int(text)
            if count < 0:
                return (kind, None)
            return (kind, [self.read() for _ in range(count * AGGREGATES[kind])])
        if kind in "$=":
            return (kind, self._bulk(int(text)))
        if kind == ":":
            return (kind, int(text))
        if kind == "_":
            return (kind, None)
        return (kind, text)

    def rest(self) -> bytes:
        """Everything until the server hangs up."""
        return self.file.read()

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        data = self.file.read(length + 2)
        if len(data) != length + 2 or not data.endswith(b"\r\n"):
            raise ConnectionError("the connection ended within a bulk string")
        return data[:-2]
