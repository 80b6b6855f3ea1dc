"""`requirepass`: what a client may do before it has said the password, beside Redis."""

from __future__ import annotations

import socket
import time

import pytest
from resp import Wire

PASSWORD = "sesame"

# Said by a new client one after the other; the replies are those of Redis, byte for byte.
SESSIONS = [
    ["PING", "GET k", "NOSUCH", "GET", "HELLO 3", "HELLO", "CLIENT ID", "COMMAND COUNT", "QUIT"],
    ["AUTH wrong", "AUTH", "AUTH a b c", "AUTH me sesame", "AUTH default wrong", "GET k"],
    ["AUTH sesame", "GET k", "ACL WHOAMI", "AUTH wrong", "GET k"],
    ["AUTH default sesame", "GET k", "RESET", "GET k", "AUTH sesame", "GET k"],
    ["HELLO 2 AUTH default wrong", "GET k", "HELLO 2 AUTH me sesame", "GET k"],
    ["HELLO 2 AUTH default wrong x", "HELLO 2 AUTH default sesame x", "GET k"],
    ["MULTI", "SET k v", "EXEC", "AUTH sesame", "MULTI", "SET k v", "EXEC", "GET k"],
]


def answers(port: int, lines: list[str]) -> list[object]:
    with Wire(port) as wire:
        return [wire.ask(*line.split()) for line in lines]


@pytest.mark.parametrize("lines", SESSIONS, ids=" ".join)
def test_who_has_not_said_the_password_is_answered_as_by_redis(nowthen, redis_server, lines):
    for server in (nowthen, redis_server):
        with Wire(server.port) as wire:
            wire.ask("CONFIG", "SET", "requirepass", PASSWORD)
            # Who is connected stays, with Redis too.
            assert wire.ask("DBSIZE")[0] == ":"
    try:
        assert answers(nowthen.port, lines) == answers(redis_server.port, lines)
    finally:
        with Wire(redis_server.port) as wire:
            wire.ask("AUTH", PASSWORD)
            wire.ask("CONFIG", "SET", "requirepass", "")


def raw(port: int, sent: bytes) -> bytes:
    """All that comes back, until the server closes or says nothing for a while."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(sent)
        try:
            while piece := connection.recv(65536):
                received += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def test_little_is_taken_before_the_password(start_nowthen):
    port = start_nowthen("--requirepass", PASSWORD).port
    many = b"*11\r\n" + b"$1\r\na\r\n" * 11
    assert raw(port, many) == b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    long = b"*2\r\n$4\r\nPING\r\n$16385\r\n"
    assert raw(port, long) == b"-ERR Protocol error: unauthenticated bulk length\r\n"
    # Small requests, but too many of them.
    noise = raw(port, b"PING\r\n" * 200_000)
    assert noise.endswith(b"-ERR too many bytes before AUTH\r\n")
    # In one pipeline with the password everything goes.
    login = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n"
    value = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n" + b"x" * 20_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(login + value + many)
        replies = connection.makefile("rb")
        assert [replies.readline() for _ in range(2)] == [b"+OK\r\n", b"+OK\r\n"]
        assert replies.readline().startswith(b"-ERR unknown command 'a'")


def test_who_does_not_log_in_is_closed_and_who_did_stays(start_nowthen):
    port = start_nowthen("--requirepass", PASSWORD, "--login-timeout", "1").port
    with Wire(port) as patient:
        patient.ask("AUTH", PASSWORD)
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
            silent.sendall(b"PING\r\n")
            assert silent.recv(100) == b"-NOAUTH Authentication required.\r\n"
            assert silent.recv(100) == b""
        assert 1 <= time.monotonic() - start < 5
        assert patient.ask("PING") == ("+", b"PONG")


def test_the_password_is_told_to_no_log(start_nowthen):
    server = start_nowthen("--requirepass", PASSWORD)
    with Wire(server.port) as wire:
        wire.ask("AUTH", PASSWORD)
        wire.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
        wire.ask("CONFIG", "SET", "requirepass", "another")
        told = repr(wire.ask("SLOWLOG", "GET", "-1"))
    assert PASSWORD not in told and "another" not in told
    assert PASSWORD not in server.output.read_text()
