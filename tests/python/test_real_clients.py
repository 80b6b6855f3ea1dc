"""Client libraries as judges: each runs the same small program (`tests/clients/`).

Invariants
- Every program passes against Debian's redis-server, too: what it claims is what Redis does.
- A program prints each step that has passed, and ends with status 0.

Not here: redis-py command by command, redis-cli, redis-benchmark (`test_redis_clients.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TARGET, Server, free_ports

PROGRAMS = ROOT / "tests" / "clients"
# What `./check` installs and builds; none of it lies in the checkout.
NODE_MODULES = TARGET / "clients" / "node" / "node_modules"
RUST = TARGET / "clients" / "rust" / "debug"
CLIENTS = {
    "redis-py": [sys.executable, PROGRAMS / "python" / "redis_py.py"],
    "redis-py asyncio": [sys.executable, PROGRAMS / "python" / "redis_py_asyncio.py"],
    "valkey-glide": [sys.executable, PROGRAMS / "python" / "valkey_glide.py"],
    "ioredis": ["node", PROGRAMS / "node" / "ioredis.js"],
    "node-redis": ["node", PROGRAMS / "node" / "node_redis.js"],
    "redis-rs": [RUST / "redis_rs"],
    "fred": [RUST / "fred_rs"],
}
STEPS = [
    "binary",
    "hashes",
    "pipeline",
    "transaction",
    "watch",
    "scan",
    "expiry",
    "field_expiry",
    "batch_features",
    "streaming_features",
    "restart",
]
# Debian's Redis 7.0 is older than fields that expire.
STEPS_OF_REDIS = [step for step in STEPS if step not in ("field_expiry", "streaming_features")]
# Their cluster connections are shared, and WATCH belongs to one connection.
CLIENTS_WITHOUT_WATCH_IN_A_CLUSTER = ["redis-rs", "fred"]
PROGRAM_SECONDS_MAX = 60


@pytest.mark.parametrize("mode", ["single", "cluster"])
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_at_home(nowthen, client, protocol, mode):
    check(nowthen, client, protocol, mode, STEPS)


@pytest.mark.parametrize(("protocol", "mode"), [(2, "single"), (3, "cluster")])
@pytest.mark.parametrize("client", CLIENTS)
def test_its_program_is_right_about_redis(start_redis, client, protocol, mode):
    check(start_redis(is_cluster=mode == "cluster"), client, protocol, mode, STEPS_OF_REDIS)


def check(server: Server, client: str, protocol: int, mode: str, steps: list[str]) -> None:
    """Runs a program to its end, restarting the server where it asks for that."""
    if mode == "cluster" and client in CLIENTS_WITHOUT_WATCH_IN_A_CLUSTER:
        steps = [step for step in steps if step != "watch"]
    command = [*map(str, CLIENTS[client]), str(server.port), str(protocol), mode, *steps]
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    # A program that hangs ends here, and what it wrote is shown.
    alarm = threading.Timer(PROGRAM_SECONDS_MAX, process.kill)
    alarm.start()
    passed = []
    try:
        for line in process.stdout:
            passed.append(line.strip())
            if passed[-1] == "please restart":
                server.restart()
                process.stdin.write("restarted\n")
                process.stdin.flush()
        _, errors = process.communicate()
    finally:
        alarm.cancel()
        process.kill()
    assert process.returncode == 0, f"after {passed}:\n{errors}"
    assert passed == [*steps[:-1], "please restart", steps[-1]], errors


class Redis(Server):
    """redis-server that keeps all it is told, alone or as a cluster of one node."""

    def __init__(self, folder: Path, is_cluster: bool):
        port, bus_port = free_ports(2)
        data = folder / "redis"
        data.mkdir()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port)]
        command += ["--dir", str(data), "--save", "", "--appendonly", "yes"]
        if is_cluster:
            # Nobody tells a node that is alone its address, and ioredis needs one.
            command += ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
            command += ["--cluster-port", str(bus_port)]
            node = f"{'0' * 39}1 127.0.0.1:{port}@{bus_port} myself,master - 0 0 1 connected"
            (data / "nodes.conf").write_text(
                f"{node} 0-16383\nvars currentEpoch 1 lastVoteEpoch 0\n"
            )
        super().__init__(command, port, data)
        self.is_cluster = is_cluster

    def answers(self) -> bool:
        if not super().answers():
            return False
        return not self.is_cluster or self.client().cluster("INFO")["cluster_state"] == "ok"


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`start_redis(is_cluster=True)`, once per test."""
    servers: list[Redis] = []

    def start(is_cluster: bool) -> Redis:
        servers.append(Redis(tmp_path, is_cluster))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
