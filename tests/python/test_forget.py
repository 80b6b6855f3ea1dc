"""FS.FORGET as a client and an operator see it."""

import json

import pytest
import redis

DEFINITIONS = """
[entity.user]
join_keys = { user = "string" }
[view.spending]
entity = "user"
features = { spend = "float64", genre = "string" }
"""
SECRET = b"q7Zk2vX9w1LmNb4R8sTfYh3Jd6Gc5PaE0uKoWi"


def files_with(server, text):
    files = [path for path in server.data.rglob("*") if path.is_file()]
    return [path.name for path in files if text in path.read_bytes()]


@pytest.fixture
def server(start_nowthen):
    server = start_nowthen()
    client = server.client()
    client.execute_command("FS.APPLY", DEFINITIONS)
    for number in range(20):
        client.hset(b"user:" + SECRET, mapping={"spend": number, "genre": SECRET})
        client.hset("user:other", mapping={"spend": number, "genre": "drama"})
        if number % 8 == 7:
            client.save()
    return server


def test_a_receipt_and_nothing_else_is_left(server):
    client = server.client()
    client.config_set("slowlog-log-slower-than", 0)
    key = b"user:" + SECRET
    client.hget(key, "genre")
    assert len(files_with(server, SECRET)) > 2
    receipt = client.execute_command("FS.FORGET", key)
    mentioned = [entry["command"] for entry in client.slowlog_get(128)]
    assert not any(SECRET in command for command in mentioned)
    assert any(command == b"FS.FORGET (redacted)" for command in mentioned)
    assert receipt[b"online_rows"] == 1 and receipt[b"history_rows"] == 16
    assert receipt[b"log_first_lsn"] > receipt[b"lsn"]
    assert b"backups that were taken before" in receipt[b"not_erased"]

    assert files_with(server, SECRET) == []
    assert client.exists(key) == 0 and client.hmget(key, "spend", "genre") == [None, None]
    assert client.execute_command("FS.HISTORY", key, "FEATURES", 1, "spend") == []
    now = client.execute_command(
        "FS.GET", "FEATURES", 1, "spend", "FOR", 1, "user", "ROWS", 2, SECRET, "other", "AT", "2100-01-01"
    )
    assert now == [[None], [19.0]]
    lines = [json.loads(line) for line in (server.data / "audit.log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["forgotten", "erased"]
    assert lines[0]["marks"] == [receipt[b"mark"].decode()]

    before = client.execute_command(
        "FS.SET", "spending", "EVENT", "2020-01-01", "ROWS", 1, "FEATURES", 1, "spend", SECRET, 1.5
    )
    assert before == [0, 1] and client.exists(key) == 0
    server.restart()
    assert client.exists(key) == 0 and client.hget("user:other", "spend") == b"19"
    assert files_with(server, SECRET) == []
    client.hset(key, "spend", 3)
    assert client.hmget(key, "spend", "genre") == [b"3", None]


@pytest.mark.parametrize(
    "request_, why",
    [
        (("FS.FORGET",), "wrong number of arguments for 'fs.forget' command"),
        (("FS.FORGET", "user:1", "x"), "wrong number of arguments for 'fs.forget' command"),
        (("FS.FORGET", "plain"), "'plain' is no key of a registered entity; expected entity:key"),
        (("FS.FORGET", "usr:1"), "'usr:1' is no key of a registered entity; expected entity:key"),
    ],
)
def test_what_is_no_entity_is_refused(server, request_, why):
    client = server.client()
    with pytest.raises(redis.ResponseError, match=why.replace("(", "\\(")):
        client.execute_command(*request_)
    client.execute_command("MULTI")
    with pytest.raises(redis.ResponseError, match="not allowed inside a transaction"):
        client.execute_command("FS.FORGET", "user:1")
