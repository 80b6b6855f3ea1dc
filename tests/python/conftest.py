"""Servers for tests: nowthen and Redis, each on free ports of 127.0.0.1 and in a folder of its own.

Invariants
- A server that a fixture gives answers PING; when the test ends, its process is gone.
- Nothing relies on port 6379, where a Redis of the machine may listen.
- `restart()` and `kill()` keep ports and data, so that a test can look at what survived.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = Path(os.environ.get("NOWTHEN_BINARY", TARGET / "release" / "nowthen"))
FLIGHTS = ROOT / "examples" / "flights"
NOON = "2013-07-04T12:00:00Z"
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20


class Server:
    """A process that speaks RESP: started, stopped or killed, and started again."""

    def __init__(self, command: list[str], port: int, data: Path):
        self.command = command
        self.port = port
        self.data = data
        self.output = data.with_suffix(".output")
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Starts the process, and does not wait for it."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def start(self) -> None:
        self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"no PONG from {self.command}:\n{self.output.read_text()}")
            time.sleep(0.005)

    def answers(self) -> bool:
        """Whether PING gets its PONG, or the word that it needs a password, asked once: a client
        of redis-py would try again."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
        except OSError:
            return False

    def client(self, **options) -> redis.Redis:
        """A new redis-py client."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def stop(self) -> int:
        """Asks the server to end (SIGTERM), and gives its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops the server, unless it is gone already, and starts it on the same data."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"{self.command} did not end:\n{self.output.read_text()}") from None


class Nowthen(Server):
    """`nowthen serve`, with its HTTP side."""

    def __init__(self, folder: Path, repository: Path | None, arguments: tuple[str, ...]):
        port, self.http_port = free_ports(2)
        data = folder / "data"
        command = [str(BINARY), "serve", "--data", str(data)]
        command += ["--port", str(port), "--http-port", str(self.http_port), *arguments]
        if repository is not None:
            command += ["--repo", str(repository)]
        super().__init__(command, port, data)

    def answers(self) -> bool:
        """Where a password is asked for, that is so while data is loaded, too."""
        try:
            return super().answers() and self.http("/ready")[0] == 200
        except OSError:
            return False

    @property
    def url(self) -> str:
        """What `--url` takes."""
        return f"redis://127.0.0.1:{self.port}"

    def http(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of a GET, or of a POST if there is a body to send."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture
def start_nowthen(tmp_path: Path) -> Iterator[Callable[..., Nowthen]]:
    """Starts servers: `start_nowthen("--durability", "always", definitions="[entity.user] ...")`,
    or with `repository=` a folder of definitions that is there already.
    """
    servers: list[Nowthen] = []

    def start(
        *arguments: str, definitions: str | None = None, repository: Path | None = None
    ) -> Nowthen:
        folder = tmp_path / f"nowthen_{len(servers)}"
        folder.mkdir()
        if definitions is not None:
            repository = folder / "repository"
            repository.mkdir()
            (repository / "features.toml").write_text(definitions)
        server = Nowthen(folder, repository, arguments)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def nowthen(start_nowthen: Callable[..., Nowthen]) -> Nowthen:
    """A server without definitions, and with the settings it has when nobody chooses any."""
    return start_nowthen()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Debian's Redis, to compare with. It keeps nothing on disk; one for all tests."""
    data = tmp_path_factory.mktemp("redis") / "data"
    data.mkdir()
    (port,) = free_ports(1)
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    # One database, as nowthen has.
    command += ["--save", "", "--appendonly", "no", "--databases", "1"]
    server = Server(command, port, data)
    server.start()
    yield server
    server.kill()


def run_nowthen(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """One command of the binary, to its end: exit code and texts."""
    command = [str(BINARY), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **{"timeout": 60, **options})


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until all are found, so they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
