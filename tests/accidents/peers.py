"""The two servers that accidents happen to: started, killed, looked at.

Both are told to sync every write before they answer, unless an accident says otherwise. Neither
takes a snapshot by itself, and Redis does not rewrite its log: what is written is in the log.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "python"))
from resp import Wire

START_SECONDS_MAX = 20


class Peer:
    """A server with a folder of its own."""

    name: str
    always: str
    every_second: str

    def __init__(self, folder: Path):
        self.folder = folder
        self.output = folder / "output"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.sync: str = self.always

    def command(self) -> list[str]:
        raise NotImplementedError

    def log_file(self) -> Path:
        """The file that the newest writes are in."""
        raise NotImplementedError

    def start(self, before: tuple[str, ...] = ()) -> int | None:
        """Starts it; None once it answers, or its exit status."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*before, *self.command()], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            status = self.process.poll()
            if status is not None:
                return status
            if self.answers():
                return None
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} neither answers nor ends:\n{self.said()}")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def wire(self) -> Wire:
        return Wire(self.port)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def exit_status(self, seconds: float) -> int | None:
        """How it ended, if it does within that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def said(self) -> str:
        return self.output.read_text(errors="replace")


class Redis(Peer):
    name = "Redis"
    always = "always"
    every_second = "everysec"

    def command(self) -> list[str]:
        return [
            "redis-server", "--bind", "127.0.0.1", "--port", str(self.port),
            "--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", self.sync,
            "--save", "", "--auto-aof-rewrite-percentage", "0",
        ]  # fmt: skip

    def log_file(self) -> Path:
        return max((self.folder / "appendonlydir").glob("*.incr.aof"))


class Nowthen(Peer):
    name = "nowthen"
    always = "always"
    every_second = "interval:1000"

    def __init__(self, folder: Path, binary: Path):
        super().__init__(folder)
        self.binary = binary

    def command(self) -> list[str]:
        return [
            str(self.binary), "serve", "--data", str(self.folder / "data"), "--port",
            str(self.port), "--http-port", "0", "--durability", self.sync,
            "--segment-bytes", str(1 << 20),
        ]  # fmt: skip

    def log_file(self) -> Path:
        return max((self.folder / "data" / "log").glob("*.log"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
