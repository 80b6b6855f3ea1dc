"""CLIENT, ACL, COMMAND and the rest of what tells of the server itself: the replies of Redis.

Where both servers can answer, bytes are compared; where the answer is about us (who is connected,
what is offered), it must be true.
"""

from __future__ import annotations

import re
import threading
import time

import pytest
import redis

from resp import Wire, encode


@pytest.fixture
def both(redis_server, nowthen):
    return redis_server, nowthen


# --- CLIENT

CLIENT_QUESTIONS = """
CLIENT
CLIENT NOSUCH
CLIENT ID x
CLIENT KILL
CLIENT KILL x
CLIENT KILL 127.0.0.1:1
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID -1
CLIENT KILL ID 99999999999999999999
CLIENT KILL ID 99999999
CLIENT KILL ID
CLIENT KILL ID 1 ADDR
CLIENT KILL ID 99999999 FOO 2
CLIENT KILL TYPE foo
CLIENT KILL TYPE master
CLIENT KILL TYPE replica SKIPME no
CLIENT KILL TYPE PubSub
CLIENT KILL USER nobody
CLIENT KILL SKIPME maybe
CLIENT KILL ADDR 1.1.1.1:1 SKIPME yes
CLIENT KILL LADDR x
CLIENT LIST TYPE x
CLIENT LIST TYPE
CLIENT LIST TYPE pubsub
CLIENT LIST TYPE slave
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 99999999999999999999
CLIENT LIST ID 0 -1 99999999
CLIENT LIST TYPE normal ID 3
CLIENT LIST FOO
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING off
CLIENT TRACKING foo
CLIENT CACHING yes
CLIENT UNBLOCK 99999999
CLIENT UNBLOCK x
CLIENT UNBLOCK 99999999 foo
CLIENT UNBLOCK 99999999 TIMEOUT
CLIENT UNBLOCK 99999999 ERROR
CLIENT UNBLOCK 99999999 ERROR x
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 0
CLIENT PAUSE 10 foo
CLIENT PAUSE x foo
CLIENT PAUSE 1 WRITE x
CLIENT PAUSE 99999999999999999999
CLIENT UNPAUSE
CLIENT UNPAUSE x
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT foo
CLIENT REPLY foo
CLIENT REPLY
CLIENT SETNAME
CLIENT SETNAME a\tb
CLIENT SETNAME abc
CLIENT GETNAME
CLIENT SETNAME \x00
CLIENT GETNAME x
""".strip("\n").split("\n")


@pytest.mark.parametrize("protocol", [2, 3])
def test_client_answers_with_the_bytes_of_redis(both, protocol):
    check_same(both, [line.split(" ") for line in CLIENT_QUESTIONS], protocol)


def check_same(both, questions: list[list[str]], protocol: int = 2) -> None:
    told = []
    for server in both:
        with Wire(server.port, protocol) as wire:
            told.append([wire.ask(*words) for words in questions])
    for words, theirs, ours in zip(questions, *told, strict=True):
        assert ours == theirs, words


def test_a_line_of_client_list_has_the_fields_of_redis_in_their_order(both):
    names = []
    for server in both:
        with Wire(server.port) as wire:
            _, line = wire.ask("CLIENT", "INFO")
            assert line.endswith(b"\n") and line.count(b"\n") == 1
            names.append([pair.split(b"=")[0] for pair in line.split()])
    assert names[1] == names[0] + [b"lib-name", b"lib-ver"]


def test_client_list_tells_what_is_true(nowthen):
    one, other = nowthen.client(protocol=3), nowthen.client(client_name="other")
    one.client_setname("one"), other.ping(), one.get("key")
    with Wire(nowthen.port) as wire:
        wire.ask("CLIENT", "NO-EVICT", "on"), wire.ask("CLIENT", "NO-TOUCH", "on")
        wire.ask("CLIENT", "SETINFO", "lib-name", "by-hand")
        wire.ask("CLIENT", "SETINFO", "LIB-VER", "1.2")
        wire.send(b"*1\r\n$4\r\nPI")
        time.sleep(0.2)
        by_name = {line["name"]: line for line in one.client_list()}
        nameless = by_name[""]
        assert nameless["flags"] == "eT" and nameless["cmd"] == "client|setinfo"
        assert (nameless["lib-name"], nameless["lib-ver"]) == ("by-hand", "1.2")
        assert nameless["qbuf"] == "10" and int(nameless["tot-mem"]) > 0
    mine = by_name["one"]
    assert (mine["cmd"], mine["flags"], mine["resp"], mine["user"]) == (
        "client|list", "N", "3", "default",
    )  # fmt: skip
    assert by_name["other"]["resp"] in ("2", "3") and by_name["other"]["cmd"] == "ping"
    assert mine["laddr"] == f"127.0.0.1:{nowthen.port}" and int(mine["fd"]) > 2
    assert one.client_info()["id"] == one.client_id() == int(mine["id"])
    ids = [int(by_name["other"]["id"]), int(mine["id"])]
    listed = one.client_list(client_id=[*ids, 10**6])
    assert [int(line["id"]) for line in listed] == ids
    assert len(one.client_list(_type="normal")) >= 2 and one.client_list(_type="pubsub") == []


def test_idle_time_and_age_are_counted(nowthen):
    client = nowthen.client()
    with Wire(nowthen.port) as wire:
        _, number = wire.ask("CLIENT", "ID")
        time.sleep(1.2)
        (line,) = client.client_list(client_id=[number])
        assert int(line["age"]) >= 1 and int(line["idle"]) >= 1
        wire.ask("PING")
        (line,) = client.client_list(client_id=[number])
        assert int(line["age"]) >= 1 and int(line["idle"]) == 0
        assert client.execute_command("CLIENT", "KILL", "MAXAGE", 100) == 0
        assert client.execute_command("CLIENT", "KILL", "MAXAGE", 1, "ID", number) == 1


@pytest.mark.parametrize(
    "how",
    [
        lambda info: ["ID", info["id"]],
        lambda info: ["ADDR", info["addr"]],
        lambda info: ["ID", info["id"], "LADDR", info["laddr"], "USER", "default", "TYPE", "normal"],
        lambda info: [info["addr"]],
    ],
    ids=["id", "address", "all", "old"],
)
def test_an_idle_connection_that_is_killed_closes_at_once(nowthen, how):
    client = nowthen.client()
    with Wire(nowthen.port, timeout=5) as idle:
        idle.ask("CLIENT", "SETNAME", "idle")
        (info,) = [line for line in client.client_list() if line["name"] == "idle"]
        words = how(info)
        told = client.execute_command("CLIENT", "KILL", *words)
        assert told == (1 if len(words) > 1 else b"OK")
        started = time.monotonic()
        assert idle.rest() == b""
        assert time.monotonic() - started < 1
    assert client.client_kill_filter(_id=info["id"]) == 0
    assert all(line["id"] != info["id"] for line in client.client_list())


def test_who_kills_itself_is_told_so_first(nowthen):
    with Wire(nowthen.port) as wire:
        _, number = wire.ask("CLIENT", "ID")
        assert wire.ask("CLIENT", "KILL", "ID", number) == (":", 0)
        wire.send(encode("CLIENT", "KILL", "ID", number, "SKIPME", "no") + encode("PING"))
        assert wire.rest() == b":1\r\n"


def test_who_takes_no_replies_can_be_killed(nowthen):
    client = nowthen.client()
    client.set("big", b"x" * 8_000_000)
    with Wire(nowthen.port) as slow:
        _, number = slow.ask("CLIENT", "ID")
        slow.send(encode("GET", "big") * 4)
        time.sleep(0.3)
        (line,) = client.client_list(client_id=[number])
        assert int(line["obl"]) > 0
        assert client.client_kill_filter(_id=number) == 1
        time.sleep(0.1)
        assert client.client_list(client_id=[number]) == []


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_a_pause_lets_writers_wait_and_loses_nothing(nowthen, mode):
    client = nowthen.client()
    assert client.execute_command("CLIENT", "PAUSE", 700, mode)
    started = time.monotonic()
    with Wire(nowthen.port) as reader, Wire(nowthen.port) as writer:
        writer.send(encode("ECHO", "before") + encode("SET", "key", "1") + encode("GET", "key"))
        assert reader.ask("GET", "key")[1] in ([None] if mode == "WRITE" else [None, b"1"])
        is_early = time.monotonic() - started < 0.5
        assert is_early == (mode == "WRITE")
        assert [writer.read()[1] for _ in range(3)] == [b"before", b"OK", b"1"]
        assert time.monotonic() - started >= 0.65


def test_a_pause_can_be_ended_before_its_time(nowthen):
    client = nowthen.client()
    client.client_pause(60_000, all=False)
    ended = threading.Timer(0.3, client.client_unpause)
    ended.start()
    started = time.monotonic()
    with Wire(nowthen.port) as writer:
        assert writer.ask("SET", "key", "1") == ("+", b"OK")
    assert 0.2 < time.monotonic() - started < 10
    ended.join()


def test_tracking_is_refused_by_name(nowthen):
    with pytest.raises(redis.ResponseError, match="CLIENT TRACKING is not offered"):
        nowthen.client().execute_command("CLIENT", "TRACKING", "ON")


def test_what_a_library_says_of_itself_has_no_blanks(nowthen):
    with Wire(nowthen.port) as wire:
        for words, why in [
            (["lib-name", "a b"], b"lib-name cannot contain spaces, newlines or special"),
            (["lib-foo", "a"], b"Unrecognized option 'lib-foo'"),
        ]:
            kind, told = wire.ask("CLIENT", "SETINFO", *words)
            assert kind == "-" and why in told
