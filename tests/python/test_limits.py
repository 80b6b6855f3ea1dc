"""Settings and limits: what CONFIG tells and changes, and each limit seen to act."""

from __future__ import annotations

import pytest
import redis
from resp import Wire

# Redis' texts for what both servers have, compared word for word.
REFUSED = [
    "CONFIG",
    "CONFIG GET",
    "CONFIG NOSUCH",
    "CONFIG HELP",
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
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_config_has_the_texts_of_redis(nowthen, redis_server, protocol):
    with Wire(nowthen.port, protocol) as ours, Wire(redis_server.port, protocol) as theirs:
        for line in REFUSED:
            assert ours.ask(*line.split()) == theirs.ask(*line.split()), line


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
    with pytest.raises(redis.ResponseError, match="immutable"):
        client.config_set("port", 1)
    assert client.config_get("save") == {"save": ""}


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
