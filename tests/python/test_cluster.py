"""One node answers as a cluster of one: what a cluster client asks for is there and true.

Bytes are compared with a redis-server in cluster mode that has all slots, too; only the identity,
the address and the port between nodes (nowthen has none) may differ.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from conftest import Server, free_ports
from resp import Wire


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory) -> Iterator[Server]:
    """A redis-server in cluster mode that has all slots."""
    data = tmp_path_factory.mktemp("redis_cluster") / "data"
    data.mkdir()
    # The port between nodes is 10000 higher, and must be one.
    port = next(port for port in free_ports(20) if port < 55_000)
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    command += ["--save", "", "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
    server = Server(command, port, data)
    server.start()
    deadline = time.monotonic() + 20
    with Wire(port) as wire:
        wire.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in wire.ask("CLUSTER", "INFO")[1]:
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.05)
    yield server
    server.kill()


QUESTIONS = [
    ["CLUSTER", "INFO"],
    ["CLUSTER", "MYID"],
    ["CLUSTER", "NODES"],
    ["CLUSTER", "SHARDS"],
    ["CLUSTER", "SLOTS"],
    ["CLUSTER", "LINKS"],
    ["CLUSTER", "KEYSLOT", "foo"],
    ["CLUSTER", "KEYSLOT", "{user:1}.a"],
    ["CLUSTER", "KEYSLOT", "{}a"],
    ["CLUSTER", "KEYSLOT", "a}{b}"],
    ["CLUSTER", "KEYSLOT", "{"],
    ["CLUSTER", "KEYSLOT"],
    ["CLUSTER", "COUNTKEYSINSLOT", "12182"],
    ["CLUSTER", "COUNTKEYSINSLOT", "16384"],
    ["CLUSTER", "COUNTKEYSINSLOT", "-1"],
    ["CLUSTER", "COUNTKEYSINSLOT", "x"],
    ["CLUSTER", "GETKEYSINSLOT", "12182", "10"],
    ["CLUSTER", "GETKEYSINSLOT", "12182", "0"],
    ["CLUSTER", "GETKEYSINSLOT", "12182", "-1"],
    ["CLUSTER", "GETKEYSINSLOT", "16384", "1"],
    ["CLUSTER", "GETKEYSINSLOT", "1", "x"],
    ["CLUSTER", "NOSUCH"],
    ["CLUSTER"],
    ["READONLY"],
    ["READWRITE"],
    ["ASKING"],
    ["READONLY", "x"],
    ["INFO", "cluster"],
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_answers_are_those_of_a_redis_cluster_of_one_node(nowthen, redis_cluster, protocol):
    told = []
    for server in (redis_cluster, nowthen):
        with Wire(server.port) as wire:
            wire.ask("FLUSHALL")
            wire.ask("HELLO", protocol)
            for key in ("foo", "{foo}bar", "other"):
                wire.ask("SET", key, "1") if key != "{foo}bar" else wire.ask("HSET", key, "f", "1")
            told.append([comparable(wire.ask(*words), server.port) for words in QUESTIONS])
    for words, theirs, ours in zip(QUESTIONS, *told, strict=True):
        assert theirs == ours, words


def comparable(frame, port: int) -> str:
    text = repr(frame)
    text = re.sub(r"\b[0-9a-f]{40}\b", "ID", text).replace(str(port), "PORT")
    text = re.sub(r"@\d+", "@BUS", text)
    if "{foo}bar" in text:
        text = "".join(sorted(text))
    return text


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_works_in_cluster_mode(nowthen, protocol):
    cluster = RedisCluster(host="127.0.0.1", port=nowthen.port, protocol=protocol)
    for number in range(100):
        cluster.hset(f"user:{number}", mapping={"f": number, "g": "x"})
    pipeline = cluster.pipeline()
    for number in range(100):
        pipeline.hmget(f"user:{number}", "f", "g")
    assert pipeline.execute() == [[str(n).encode(), b"x"] for n in range(100)]
    assert cluster.mget_nonatomic("none") == [None]
    assert cluster.delete("user:1", "user:2", "user:3") == 3
    assert sum(1 for _ in cluster.scan_iter("user:*")) == 97
    assert cluster.cluster_keyslot("user:5") == cluster.keyslot("user:5")
    assert cluster.cluster_countkeysinslot(cluster.keyslot("user:5")) >= 1
    keys = cluster.cluster_get_keys_in_slot(cluster.keyslot("user:5"), 100)
    assert "user:5" in [key if isinstance(key, str) else key.decode() for key in keys]
    (node,) = cluster.cluster_nodes().values()
    assert node["flags"] == "myself,master" and node["slots"] == [["0", "16383"]]
    assert cluster.cluster_info(target_nodes=cluster.get_random_node())["cluster_state"] == "ok"
    cluster.close()


def test_a_cluster_client_reads_from_replicas_and_finds_the_server_again(nowthen):
    nodes = [ClusterNode("127.0.0.1", nowthen.port)]
    cluster = RedisCluster(startup_nodes=nodes, read_from_replicas=True)
    cluster.set("a", "1")
    nowthen.restart()
    assert cluster.get("a") == b"1"
    cluster.close()


def test_the_node_keeps_its_identity_and_another_has_another(start_nowthen):
    one, other = start_nowthen(), start_nowthen()
    told = one.client().execute_command("CLUSTER MYID")
    assert re.fullmatch(rb"[0-9a-f]{40}", told)
    assert other.client().execute_command("CLUSTER MYID") != told
    one.restart()
    assert one.client().execute_command("CLUSTER MYID") == told


def test_what_is_no_cluster_client_sees_a_server_that_stands_alone(nowthen):
    client = nowthen.client()
    assert client.info("server")["redis_mode"] == "standalone"
    assert client.info("cluster") == {"cluster_enabled": 1}
    hello = client.execute_command("HELLO", 2)
    hello = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2]))
    assert hello[b"mode"] == b"standalone"
    assert client.mset({"a": 1, "b": 2, "c": 3}) and client.mget("a", "b", "c") == [b"1", b"2", b"3"]
    with pytest.raises(redis.ResponseError, match="unknown subcommand 'MEET'. Try CLUSTER HELP."):
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", "7000")
