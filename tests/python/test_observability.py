"""What operators and their tools see: INFO, SLOWLOG, LATENCY, MEMORY and MONITOR, as redis-py reads
them, beside what Redis says of the same requests.
"""

from __future__ import annotations

import socket
import time

import pytest
import redis

REFUSED = """SLOWLOG
SLOWLOG GET -2
SLOWLOG GET x
SLOWLOG GET 1 2
SLOWLOG LEN x
SLOWLOG foo
LATENCY foo
LATENCY HISTORY
LATENCY HISTORY a b
LATENCY LATEST x
LATENCY HELP x
MEMORY foo
MEMORY USAGE
MEMORY USAGE k SAMPLES
MEMORY USAGE k SAMPLES -1
MEMORY USAGE k SAMPLES x
MEMORY USAGE k OTHER 1
MEMORY STATS x
CONFIG RESETSTAT x
MONITOR x""".split("\n")


def titles(client):
    """The titles of all sections of INFO."""
    connection = client.connection_pool.get_connection()
    connection.send_command("INFO", "everything")
    text = connection.read_response()
    return [line for line in text.decode().split("\r\n") if line.startswith("#")]


def test_info_tells_true_figures_in_the_words_of_redis(nowthen, redis_server):
    ours, theirs = nowthen.client(), redis_server.client()
    ours.config_resetstat()
    for key in range(10):
        ours.set(f"k{key}", "v", px=100_000 if key < 5 else None)
    ours.get("k1"), ours.get("none"), ours.hgetall("none")
    with pytest.raises(redis.ResponseError):
        ours.execute_command("GET")
    with pytest.raises(redis.ResponseError):
        ours.hget("k1", "f")
    info = ours.info()
    assert info["connected_clients"] >= 1 and info["blocked_clients"] == 0
    assert info["keyspace_hits"] == 2 and info["keyspace_misses"] == 2
    assert info["total_error_replies"] == 2
    assert info["errorstat_ERR"] == {"count": 1} and info["errorstat_WRONGTYPE"] == {"count": 1}
    keyspace = info["db0"]
    assert (keyspace["keys"], keyspace["expires"]) == (10, 5)
    assert 90_000 < keyspace["avg_ttl"] <= 100_000
    assert 0 < info["used_memory_dataset"] <= info["used_memory"] <= info["used_memory_peak"]
    assert info["used_memory_rss"] > info["used_memory"]
    assert info["used_cpu_user"] >= 0 and info["total_system_memory"] > info["used_memory_rss"]
    assert info["cluster_enabled"] == 1 and info["role"] == "master"
    assert "cmdstat_get" not in info and "cmdstat_get" in ours.info("all")
    # Every section of Redis, in its order and under its title, and one of our own.
    assert titles(ours) == [*titles(theirs), "# Training"]


def test_commands_are_counted_as_redis_counts_them(nowthen, redis_server):
    def counted(client):
        client.config_resetstat()
        client.set("a", "b")
        client.hset("h", "f", "v")
        wrong = ["SET a", "HGET a f", "CONFIG GET", "nosuch", "SLOWLOG GET x", "CONFIG nosuch"]
        for line in wrong:
            with pytest.raises(redis.ResponseError):
                client.execute_command(*line.split())
        client.client_id()
        info = client.info("commandstats")
        errors = client.info("errorstats")
        assert client.info("stats")["total_error_replies"] == 6
        kinds = ["calls", "rejected_calls", "failed_calls"]
        calls = {name: [told[kind] for kind in kinds] for name, told in info.items()}
        percentiles = [sorted(client.info("latencystats"))]
        client.config_set("latency-tracking", "no")
        percentiles.append(client.info("latencystats"))
        client.config_resetstat()
        client.set("a", "b")
        calls["untracked set"] = client.info("commandstats")["cmdstat_set"]["calls"]
        client.config_set("latency-tracking", "yes")
        percentiles.append(sorted(client.info("latencystats")))
        percentiles.append(client.execute_command("LATENCY", "HISTOGRAM", "set"))
        return calls, errors, percentiles

    ours, theirs = counted(nowthen.client()), counted(redis_server.client())
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]


def test_rates_follow_what_clients_do(nowthen):
    client = nowthen.client()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        client.ping()
    stats = client.info("stats")
    assert stats["instantaneous_ops_per_sec"] > 50
    assert stats["instantaneous_input_kbps"] > 0 and stats["instantaneous_output_kbps"] > 0
    deadline = time.monotonic() + 10
    while client.info("stats")["instantaneous_ops_per_sec"] > 10:
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_keys_and_fields_that_ended_are_counted(nowthen):
    client = nowthen.client()
    for key in range(5):
        client.set(f"k{key}", "v", px=50)
    client.hset("h", mapping={"a": 1, "b": 2, "c": 3})
    client.execute_command("HPEXPIRE", "h", 50, "FIELDS", 2, "a", "b")
    assert client.info("keyspace")["db0"]["subexpiry"] == 1
    wanted = {"expired_keys": 5, "expired_subkeys": 2}
    deadline = time.monotonic() + 10
    while not wanted.items() <= client.info("stats").items():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.info("keyspace")["db0"]["subexpiry"] == 0


def test_slowlog_and_latency_read_as_redis_py_expects(nowthen, redis_server):
    ours, theirs = nowthen.client(protocol=3), redis_server.client(protocol=3)
    assert ours.slowlog_len() == 0 and ours.slowlog_get() == []
    for line in ["LATENCY LATEST", "LATENCY HISTORY command"]:
        assert ours.execute_command(*line.split()) == theirs.execute_command(*line.split()), line
    for line in REFUSED:
        replies = []
        for client in (ours, theirs):
            with pytest.raises(redis.ResponseError) as refused:
                client.execute_command(*line.split())
            replies.append(str(refused.value))
        assert replies[0] == replies[1]
    for client in (ours, theirs):
        client.config_resetstat()
        client.set("a", "b"), client.set("c", "d"), client.client_id()
    histogram = ["LATENCY", "HISTOGRAM", "set", "client", "nosuch"]
    told = [client.execute_command(*histogram) for client in (ours, theirs)]
    assert list(told[0]) == list(told[1]) == [b"set", b"client|id"]
    of_set = told[0][b"set"]
    assert of_set[b"calls"] == 2 and list(of_set[b"histogram_usec"].values())[-1] == 2


def test_memory_of_a_key_and_of_all(nowthen):
    client = nowthen.client()
    client.set("k", "v" * 1000)
    assert 1000 < client.memory_usage("k") < 1200
    assert client.memory_usage("none") is None
    stats = client.memory_stats()
    assert stats["keys.count"] == 1 and stats["dataset.bytes"] >= 1000
    assert float(stats["dataset.percentage"]) > 0
    assert client.memory_purge()


def test_monitor_tells_every_request_without_secrets(nowthen, redis_server):
    def seen(server):
        lines = [
            'set k "a \\"b\\"\\r\\n\\x00\\xff"',
            "config get port",  # an operator's command is not told
            "AUTH no secret",
            "HELLO 2 AUTH no secret",
            "GET",
            "nosuch",
            "get k",
        ]
        # Inline, on one connection: redis-py would log in again after an error of AUTH.
        with server.client().monitor() as monitor:
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                for line in lines:
                    connection.sendall(line.encode() + b"\r\n")
                    connection.recv(10_000)
            told = [monitor.next_command() for _ in range(4)]
        return [(it["db"], it["command"]) for it in told]

    assert seen(nowthen) == seen(redis_server)


def test_a_monitor_that_does_not_read_is_disconnected_and_nobody_else_notices(nowthen):
    watcher = socket.create_connection(("127.0.0.1", nowthen.port))
    watcher.sendall(b"MONITOR\r\n")
    assert watcher.recv(5) == b"+OK\r\n"
    client = nowthen.client()
    before = client.info("clients")["connected_clients"]
    value = "x" * 1_000_000
    deadline = time.monotonic() + 60
    while client.info("clients")["connected_clients"] >= before:
        assert time.monotonic() < deadline
        client.set("k", value)
    assert client.info("memory")["used_memory_rss"] < 200 * 1024 * 1024
    watcher.close()


def test_reset_ends_monitoring(nowthen):
    watcher = socket.create_connection(("127.0.0.1", nowthen.port))
    watcher.sendall(b"MONITOR\r\n")
    assert watcher.recv(5) == b"+OK\r\n"
    client = nowthen.client()
    client.set("k", "v")
    assert b'"SET" "k" "v"' in watcher.recv(1000)
    watcher.sendall(b"RESET\r\n")
    deadline, told = time.monotonic() + 10, b""
    while b"+RESET\r\n" not in told:
        assert time.monotonic() < deadline
        told += watcher.recv(1000)
    client.set("k", "v")
    watcher.sendall(b"PING\r\n")
    assert watcher.recv(1000) == b"+PONG\r\n"
    watcher.close()


def test_thresholds_are_settings(nowthen):
    client = nowthen.client()
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 3)
    for _ in range(5):
        client.get("k")
    assert client.slowlog_len() == 3
    entry = client.slowlog_get(1)[0]
    assert entry["command"] == b"SLOWLOG LEN" and entry["client_address"].startswith(b"127.0.0.1:")
    client.config_set("slowlog-log-slower-than", -1)
    client.slowlog_reset()
    assert client.slowlog_len() == 0
    client.config_set("latency-monitor-threshold", 1)
    assert client.config_get("latency-monitor-threshold") == {"latency-monitor-threshold": "1"}
