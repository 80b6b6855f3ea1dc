"""Settings and limits: what CONFIG tells and changes, and each limit seen to act."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest
import redis
from resp import Wire, encode

# Redis' texts for what both servers have, compared word for word.
REFUSED = [
    "CONFIG",
    "CONFIG GET",
    "CONFIG NOSUCH",
    "CONFIG HELP x",
    "CONFIG REWRITE",
    "CONFIG RESETSTAT",
    "CONFIG RESETSTAT x",
    "CONFIG SET",
    "CONFIG SET maxclients",
    "CONFIG SET nosuch 1",
    "CONFIG SET maxclients 10 nosuch",
    "CONFIG SET maxclients 10 nosuch 2 databases 3",
    "CONFIG SET maxclients 10 databases 3 nosuch 2",
    "CONFIG SET MAXCLIENTS 20 maxclients 30",
    "CONFIG SET MAXCLIENTS ten",
    "CONFIG SET maxclients 0",
    "CONFIG SET maxclients 5000000000",
    "CONFIG SET maxclients +5",
    "CONFIG SET maxclients 05",
    "CONFIG SET tcp-keepalive 7 maxclients x",
    "CONFIG SET tcp-keepalive -1",
    "CONFIG SET proto-max-bulk-len 1.5gb",
    "CONFIG SET client-query-buffer-limit -1",
    "CONFIG GET nosuch",
    "CONFIG GET tcp-keepalive",
    "CONFIG GET MAXclients",
    "CONFIG GET maxclients maxclients MAXCLIENTS",
    "CONFIG GET tcp-keep*",
    "CONFIG GET TCP-keep*",
    "CONFIG SET maxmemory-policy noeviction",
    "CONFIG GET databases",
    "CONFIG GET save",
    "CONFIG SET client-output-buffer-limit normal",
    "CONFIG SET timeout 99999999999",
    "CONFIG SET timeout 0",
    "CONFIG GET timeout",
    "CONFIG SET daemonize yes",
    "CONFIG GET daemonize",
    "CONFIG SET latency-tracking maybe",
    "CONFIG SET latency-tracking NO",
    "CONFIG GET latency-tracking",
    "CONFIG SET latency-tracking yes",
    "CONFIG GET maxmemory-clients",
    "CONFIG SET maxmemory-clients 200%",
    "CONFIG SET maxmemory-clients -1%",
    "CONFIG SET maxmemory-clients %",
    "CONFIG SET maxmemory-clients x",
    "CONFIG SET maxmemory-clients 0",
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_config_has_the_texts_of_redis(start_nowthen, redis_server, protocol):
    nowthen = start_nowthen("--save", "")
    with Wire(nowthen.port, protocol) as ours, Wire(redis_server.port, protocol) as theirs:
        for line in REFUSED:
            assert ours.ask(*line.split()) == theirs.ask(*line.split()), line


OUTPUT_LIMITS = ["normal 1 2", "normal x 2 3", "foo 1 2 3", "NORMAL 1mb 2mb 3", "normal -1 2 3", ""]


def test_output_limits_have_the_texts_of_redis(nowthen, redis_server):
    name = "client-output-buffer-limit"
    with Wire(nowthen.port) as ours, Wire(redis_server.port) as theirs:
        for value in OUTPUT_LIMITS:
            set_it = ("CONFIG", "SET", name, value)
            assert ours.ask(*set_it) == theirs.ask(*set_it), value
        assert ours.ask("CONFIG", "GET", name)[1][1] == ("$", b"normal 1048576 2097152 3")
        theirs.ask("CONFIG", "SET", name, "normal 0 0 0")


PERCENTILES = ["0.0 50.0 100.0", "10 50 a", "10 101", "-1", "1  2", "99.90 1.23456789", "", " "]


def test_percentiles_are_judged_and_told_as_by_redis(nowthen, redis_server):
    name = "latency-tracking-info-percentiles"
    with Wire(nowthen.port) as ours, Wire(redis_server.port) as theirs:
        for value in PERCENTILES:
            for line in [("SET", name, value), ("GET", name)]:
                assert ours.ask("CONFIG", *line) == theirs.ask("CONFIG", *line), value
        theirs.ask("CONFIG", "SET", name, "50 99 99.9")


def test_settings_change_all_or_none(nowthen):
    client = nowthen.client(decode_responses=True)
    assert client.config_get("maxclients", "tcp-keepalive") == {
        "maxclients": "10000",
        "tcp-keepalive": "300",
    }
    assert client.config_set("maxclients", 77, "proto-max-bulk-len", "2mb")
    with pytest.raises(redis.ResponseError, match="'proto-max-bulk-len'"):
        client.config_set("maxclients", 99, "proto-max-bulk-len", "1kb")
    assert client.config_get("maxclients", "proto-max-bulk-len") == {
        "maxclients": "77",
        "proto-max-bulk-len": str(2 << 20),
    }
    with pytest.raises(redis.ResponseError, match="'port'. - Unable to listen on this port"):
        client.config_set("maxclients", 99, "port", 1)
    assert client.config_set("maxclients", 77, "port", nowthen.port)
    assert client.config_get("maxclients", "port")["maxclients"] == "77"
    assert client.config_get("save") == {"save": "3600 1"}


def test_settings_come_from_the_command_line_and_the_environment(start_nowthen, monkeypatch):
    monkeypatch.setenv("NOWTHEN_INLINE_MAX_LEN", "2kb")
    server = start_nowthen("--maxclients", "55", "--proto-max-bulk-len", "3mb")
    wanted = {"maxclients": "55", "proto-max-bulk-len": str(3 << 20), "inline-max-len": "2048"}
    assert server.client(decode_responses=True).config_get(*wanted) == wanted


def test_a_limit_holds_for_connections_that_are_there(nowthen):
    with Wire(nowthen.port) as early:
        assert early.ask("SET", "k", b"x" * (2 << 20)) == ("+", b"OK")
        early.ask("CONFIG", "SET", "proto-max-bulk-len", "1mb")
        assert early.ask("SET", "k", b"x" * (1 << 20)) == ("+", b"OK")
        early.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
        assert early.read() == ("-", b"ERR Protocol error: invalid bulk length")


def test_an_idle_client_is_closed_after_timeout_and_a_busy_one_is_not(nowthen):
    with Wire(nowthen.port) as idle, Wire(nowthen.port) as busy:
        idle.ask("PING")
        busy.ask("CONFIG", "SET", "timeout", 2)
        for _ in range(8):
            time.sleep(0.5)
            assert busy.ask("PING") == ("+", b"PONG")
        with pytest.raises((ConnectionError, OSError)):
            idle.ask("PING")
        busy.ask("CONFIG", "SET", "timeout", 0)
        time.sleep(3)
        assert busy.ask("PING") == ("+", b"PONG")


def test_a_request_that_does_not_end_is_closed_however_it_drips(nowthen):
    nowthen.client().config_set("partial-command-timeout", 2)
    with Wire(nowthen.port) as slow, Wire(nowthen.port) as quiet:
        slow.ask("PING")
        slow.send(b"*2\r\n$3\r\nGET\r\n$1000\r\n")
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < started + 10:
                slow.send(b"x")
                time.sleep(0.1)
        assert 1.9 < time.monotonic() - started < 5
        assert quiet.ask("PING") == ("+", b"PONG")


def test_a_client_that_reads_nothing_is_closed_and_held_no_memory(nowthen):
    client = nowthen.client()
    client.set("k", b"x" * (1 << 20))
    client.config_set("write-timeout", 2)
    before = resident_bytes(nowthen)
    with Wire(nowthen.port) as wire:
        wire.send(encode("GET", "k") * 5000)
        time.sleep(1)
        assert resident_bytes(nowthen) - before < 16 << 20
        deadline = time.monotonic() + 8
        while len(client.client_list()) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(client.client_list()) == 1
        assert client.get("k")


def test_a_large_reply_waits_for_who_reads_and_not_for_who_stops(nowthen):
    client = nowthen.client()
    value = b"x" * (32 << 20)
    for field in range(4):
        client.hset("h", str(field), value)
    # 128 MiB, twice the hard limit, read with a pause now and then.
    with Wire(nowthen.port) as reads:
        reads.send(encode("HGETALL", "h"))
        time.sleep(0.5)
        _, items = reads.read()
        assert len(items) == 8 and all(item[1] == value for item in items[1::2])
    with Wire(nowthen.port) as stops:
        stops.send(encode("HGETALL", "h"))
        # The server may not have met it yet: that nobody is there says nothing before it is told.
        wait_until(lambda: b"overcoming of output buffer limits" in nowthen.output.read_bytes())
        wait_until(lambda: len(client.client_list()) == 1)


def test_a_small_request_cannot_ask_for_all_memory(nowthen):
    client = nowthen.client()
    client.hset("h", "f", b"x" * (32 << 20))
    before = resident_bytes(nowthen)
    client.config_set("reply-max-len", "100mb")
    for request in (["HMGET", "h"] + ["f"] * 1000, ["HMGET", "h"] + ["f"] * 5000):
        with Wire(nowthen.port) as wire:
            assert wire.ask("PING") == ("+", b"PONG")
            wire.send(encode("PING") + encode(*request))
            assert wire.read() == ("+", b"PONG")
            with pytest.raises(ConnectionError):
                wire.read()
    assert resident_bytes(nowthen) - before < 300 << 20
    with Wire(nowthen.port) as wire:
        assert len(wire.ask("HMGET", "h", "f", "f", "f")[1]) == 3


def test_a_client_too_many_is_refused_and_the_operator_is_not(nowthen):
    client = nowthen.client(single_connection_client=True)
    client.config_set("maxclients", 3)
    with Wire(nowthen.port) as first, Wire(nowthen.port) as second:
        for wire in (first, second):
            assert wire.ask("PING") == ("+", b"PONG")
        with Wire(nowthen.port) as ordinary:
            assert ordinary.ask("PING") == ("-", b"ERR max number of clients reached")
            with pytest.raises(ConnectionError):
                ordinary.read()
        # It had the operator's place, and was told before it gave that up.
        wait_until(lambda: len(client.client_list()) == 3)
        with Wire(nowthen.port) as operator:
            number = operator.ask("CLIENT", "ID")
            assert number[0] == ":"
            assert operator.ask("CONFIG", "GET", "maxclients")[1][1] == ("$", b"3")
            assert b"rejected_connections:0" in operator.ask("INFO", "stats")[1]
            with Wire(nowthen.port) as too_many:
                assert too_many.read() == ("-", b"ERR max number of clients reached")
            operator.ask("CONFIG", "SET", "maxclients", 4)
            with Wire(nowthen.port) as fourth:
                assert fourth.ask("PING") == ("+", b"PONG")
    assert client.info("stats")["rejected_connections"] == 1


OUT_OF_MEMORY = [
    "SET k v",
    "HSET h f v",
    "APPEND k v",
    "GET k",
    "HSET h",
    "EXPIRE k 100",
    "MULTI",
    "SET k w",
    "EXEC",
    "MULTI",
    "GET k",
    "EXEC",
    "MULTI",
    "DISCARD",
    "MULTI",
    "EXEC",
    "GETDEL k",
]


def test_writes_are_refused_above_maxmemory_as_redis_refuses_them(nowthen, redis_server):
    answers = []
    for server in (nowthen, redis_server):
        with Wire(server.port) as wire, Wire(server.port) as queued:
            wire.ask("SET", "k", "v")
            wire.ask("SET", "big", "x" * 100_000)
            queued.ask("MULTI")
            queued.ask("SET", "q", "1")
            wire.ask("CONFIG", "SET", "maxmemory", "50000")
            told = [wire.ask(*line.split()) for line in OUT_OF_MEMORY]
            told += [queued.ask("EXEC"), queued.ask("DISCARD")]
            wire.ask("CONFIG", "SET", "maxmemory", "0")
            told += [wire.ask("SET", "k", "v"), wire.ask("DEL", "k", "big", "h")]
            answers.append(told)
    assert answers[0] == answers[1]
    assert answers[0][0] == ("-", b"OOM command not allowed when used memory > 'maxmemory'.")


def test_memory_is_free_again_as_soon_as_keys_are_deleted(nowthen):
    client = nowthen.client()
    client.config_set("maxmemory", "4mb")
    written = 0
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        for written in range(200):
            client.set(f"k{written}", b"x" * 100_000)
            time.sleep(0.005)
    # The sweeper looks ten times a second.
    assert 40 <= written < 100
    assert client.get("k0")
    client.delete(*(f"k{n}" for n in range(20)))
    assert client.set("k0", b"y")


def test_maxclients_is_what_the_system_can_handle(nowthen, redis_server):
    # No process opens so many files. Redis tries every sixteenth number below.
    too_many = int(Path("/proc/sys/fs/nr_open").read_text()) + 1000
    for server in (nowthen, redis_server):
        with pytest.raises(redis.ResponseError, match="specified number of clients, try with"):
            server.client().config_set("maxclients", too_many)
        assert server.client().config_get("maxclients") == {"maxclients": "10000"}
    limits = Path(f"/proc/{nowthen.process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) >= 10_000


def wait_until(is_so):
    end = time.monotonic() + 8
    while not is_so():
        assert time.monotonic() < end, "it is not so after 8 s"
        time.sleep(0.02)


def resident_bytes(server) -> int:
    """What the kernel says a server holds in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


IDLE = 10_000


def test_ten_thousand_idle_connections_cost_less_than_100_mib(start_nowthen):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = start_nowthen("--maxclients", str(IDLE), "--durability", "never")
    connections = []
    try:
        before = resident_bytes(server)
        for _ in range(IDLE):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            connections.append(connection)
            connection.sendall(encode("SET", "k", "x" * 100) + b"PING\r\n")
            answer = b""
            while not answer.endswith(b"+PONG\r\n"):
                answer += connection.recv(100)
        taken = resident_bytes(server) - before
        print(f"{taken / IDLE:.0f} bytes each")
        assert taken < 100 << 20
        # They are all there still, and are answered.
        for connection in connections[:: IDLE // 100]:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
