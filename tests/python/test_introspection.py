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


@pytest.mark.parametrize("name", ["redis_server", "nowthen"])
def test_a_pause_of_writes_holds_transactions_that_write_only(name, request):
    server = request.getfixturevalue(name)
    client = server.client()
    with Wire(server.port) as reader, Wire(server.port) as writer:
        reader.send(encode("MULTI") + encode("PING") + encode("GET", "key"))
        writer.send(encode("MULTI") + encode("SET", "key", "1"))
        assert [reader.read()[1] for _ in range(3)] == [b"OK", b"QUEUED", b"QUEUED"]
        assert [writer.read()[1] for _ in range(2)] == [b"OK", b"QUEUED"]
        client.client_pause(60_000, all=False)
        assert reader.ask("EXEC") == ("*", [("+", b"PONG"), ("$", None)])
        writer.send(encode("EXEC"))
        writer.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            writer.socket.recv(1)
        client.client_unpause()
        writer.socket.settimeout(20)
        assert writer.socket.recv(100) == b"*1\r\n+OK\r\n"


def test_a_pause_for_ever_is_refused(nowthen):
    with Wire(nowthen.port) as wire:
        # Redis 7.0 overflows here and does not pause; this is what newer ones say.
        for most in (2**63 - 1, 2**63 - 10**12):
            assert wire.ask("CLIENT", "PAUSE", most) == ("-", b"ERR timeout is out of range")
        assert wire.ask("PING") == ("+", b"PONG")


@pytest.mark.parametrize("name", ["redis_server", "nowthen"])
def test_clients_are_listed_with_their_transactions(name, request):
    server = request.getfixturevalue(name)
    client = server.client()
    with Wire(server.port) as wire:
        _, number = wire.ask("CLIENT", "ID")

        def told():
            (line,) = client.client_list(client_id=[number])
            return line["flags"], line["multi"], line["multi-mem"] != "0"

        assert told() == ("N", "-1", False)
        wire.ask("MULTI")
        assert told()[:2] == ("x", "0")
        wire.ask("SET", "key", "1")
        wire.ask("GET", "key")
        assert told() == ("x", "2", True)
        wire.ask("EXEC")
        assert told() == ("N", "-1", False)
        wire.ask("MONITOR")
        assert told()[:2] == ("O", "-1")


def test_words_in_errors_are_repeated_as_by_redis(both):
    word = b"a\r\nb\tc\0d"
    for words in [
        ["HELLO", 2, word],
        ["CLIENT", "KILL", "USER", word],
        ["CLIENT", "KILL", "TYPE", word],
        ["CLIENT", "LIST", "TYPE", word],
        ["ACL", "GETUSER", word],
        ["ACL", "CAT", word],
        ["ACL", "DRYRUN", word, "GET"],
        ["ACL", "DRYRUN", "default", word],
        ["CONFIG", "SET", word, "1"],
        ["CONFIG", word],
        [word, word],
    ]:
        replies = []
        for server in both:
            with Wire(server.port) as wire:
                replies.append(wire.ask(*words))
        assert replies[0] == replies[1], words


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


# --- ACL

ACL_QUESTIONS = """
ACL
ACL FOO
ACL LOG RESET
ACL WHOAMI
ACL WHOAMI x
ACL USERS
ACL LIST
ACL GETUSER default
ACL GETUSER nobody
ACL CAT foo
ACL CAT @hash
ACL CAT hash x
ACL GENPASS 0
ACL GENPASS 4097
ACL GENPASS -1
ACL GENPASS x
ACL GENPASS 5 x
ACL DRYRUN default
ACL DRYRUN default get
ACL DRYRUN default get k
ACL DRYRUN default nosuch
ACL DRYRUN nobody get k
ACL DRYRUN default client
ACL DRYRUN default client kill
ACL DRYRUN default client id
ACL LOG
ACL LOG 5
ACL LOG x
ACL LOG -1
ACL LOG RESET
ACL LOG 1 2
ACL DELUSER default
ACL DELUSER
ACL SETUSER
ACL LOAD x
AUTH x
AUTH default x
ROLE
ROLE x
WAIT 0 0
WAIT 0 10
WAIT x 0
WAIT 1 x
WAIT 1 -1
WAIT -1 10
WAIT
DEBUG
DEBUG SLEEP 0
DEBUG JMAP
""".strip("\n").split("\n")


@pytest.mark.parametrize("protocol", [2, 3])
def test_acl_and_its_neighbours_answer_with_the_bytes_of_redis(both, protocol):
    check_same(both, [line.split(" ") for line in ACL_QUESTIONS], protocol)


def test_redis_py_asks_about_users(nowthen):
    client = nowthen.client()
    assert client.acl_whoami() == "default" and client.acl_users() == ["default"]
    user = client.acl_getuser("default")
    assert user["enabled"] and user["flags"] == ["on", "nopass"] and user["categories"] == ["+@all"]
    assert client.acl_list() == ["user default on nopass ~* &* +@all"]
    assert len(client.acl_genpass()) == 64 and len(client.acl_genpass(5)) == 2
    assert client.acl_genpass() != client.acl_genpass()
    assert client.acl_dryrun("default", "get", "key") in ("OK", b"OK")
    assert client.acl_log() == [] and client.acl_log_reset()
    for refused in (lambda: client.acl_setuser("x"), client.acl_save, client.acl_load):
        with pytest.raises(redis.ResponseError, match="users come from the settings"):
            refused()


def test_each_category_holds_the_shared_commands_that_redis_puts_there(both):
    theirs, ours = (server.client() for server in both)
    shared = names(theirs) & names(ours)
    their_categories = [name for name in theirs.acl_cat()]
    assert [name for name in ours.acl_cat() if name not in ("features", b"features")] == (
        their_categories
    )
    for category in their_categories:
        told = [set(client.acl_cat(category)) & shared for client in (theirs, ours)]
        assert told[0] == told[1], category
        filtered = ours.execute_command("COMMAND LIST", "FILTERBY", "ACLCAT", category)
        assert sorted(filtered) == sorted(text(name) for name in ours.acl_cat(category))


def text(name) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def names(client) -> set:
    """Of all commands and subcommands, as `acl_cat` spells them."""
    told = {text(name) for name in client.execute_command("COMMAND LIST")}
    filtered = client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", "*")
    assert {text(name) for name in filtered} == told
    return told | {name.decode() for name in told}


# --- WAIT, DEBUG


@pytest.mark.parametrize("mode", ["always", "interval:60000", "never"])
def test_waiting_means_that_it_is_on_the_disk(start_nowthen, mode):
    server = start_nowthen("--durability", mode)
    client = server.client()
    for number in range(3):
        client.set(f"key{number}", "1")
        if number == 1:
            assert client.execute_command("WAITAOF", 1, 0, 10_000) == [1, 0]
        else:
            assert client.wait(1, 10_000) == 0
        info = client.info("persistence")
        assert info["log_durable_lsn"] == info["log_last_lsn"]
        server.kill()
        server.start()
        assert client.get(f"key{number}") == b"1"


def test_waitaof_refuses_what_redis_refuses(nowthen):
    with Wire(nowthen.port) as wire:
        for words, told in [
            (["2", "0", "0"], b"ERR value is out of range, value must between 0 and 1"),
            (["0", "-1", "0"], b"ERR value is out of range, must be positive"),
            (["1", "0", "-1"], b"ERR timeout is negative"),
            (["1", "0", "x"], b"ERR timeout is not an integer or out of range"),
            (["1", "0"], b"ERR wrong number of arguments for 'waitaof' command"),
        ]:
            assert wire.ask("WAITAOF", *words) == ("-", told)
        assert wire.ask("WAITAOF", 0, 0, 0)[1][1] == (":", 0)


def test_debug_sleeps_only_where_it_is_allowed(start_nowthen):
    server = start_nowthen("--enable-debug-command", "local")
    assert server.client().config_get("enable-debug-command") == {"enable-debug-command": "local"}
    with Wire(server.port) as wire, Wire(server.port) as other:
        started = time.monotonic()
        wire.send(encode("DEBUG", "SLEEP", "0.4"))
        assert other.ask("PING") == ("+", b"PONG")
        assert time.monotonic() - started < 0.3
        assert wire.read() == ("+", b"OK") and time.monotonic() - started >= 0.4
        kind, told = wire.ask("DEBUG", "JMAP")
        assert kind == "-" and b"unknown subcommand or wrong number of arguments for 'JMAP'" in told


# --- COMMAND

# What COMMAND INFO tells differently, and why.
INTENDED = {
    "notes": "remarks within key specifications are not told",
    "subcommands": "those that are not offered are not in the list (CLUSTER MEET)",
}


@pytest.mark.parametrize("protocol", [2, 3])
def test_command_info_tells_of_every_shared_command_what_redis_tells(both, protocol):
    tables = []
    for server in both:
        with Wire(server.port, protocol) as wire:
            entries = wire.ask("COMMAND")[1]
            tables.append({})
            for entry in entries:
                add_to(tables[-1], entry)
    theirs, ours = tables
    shared = theirs.keys() & ours.keys()
    assert len(shared) > 120
    documents = {}
    add_documents(documents, both[1].client(protocol=3).execute_command("COMMAND DOCS"))
    for name in ours.keys() - shared:
        is_newer = version(documents[name][b"since"]) > (7, 0, 15)
        assert is_newer or name.startswith(b"fs."), name
    for name in sorted(shared):
        assert ours[name] == theirs[name], name


def version(since: bytes) -> tuple[int, ...]:
    return tuple(map(int, since.split(b".")))


def add_to(table: dict, entry: tuple) -> None:
    """By name what COMMAND tells; what has no order in Redis, sorted."""
    parts = list(entry[1])
    for subcommand in parts[9][1]:
        add_to(table, subcommand)
    parts[9] = parts[9][0] if not parts[9][1] else "some"
    parts[8] = repr([without_notes(specification) for specification in parts[8][1]])
    table[parts[0][1]] = parts


def without_notes(specification: tuple) -> tuple:
    kind, parts = specification
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    return kind, [pair for pair in pairs if pair[0][1] != b"notes"]


COMMAND_QUESTIONS = """
COMMAND COUNT x
COMMAND FOO
COMMAND INFO nosuch
COMMAND INFO nosuch client|kill GET
COMMAND LIST FILTERBY ACLCAT nosuch
COMMAND LIST FILTERBY ACLCAT @hash
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY PATTERN client|k*
COMMAND LIST FILTERBY PATTERN
COMMAND LIST FILTERBY FOO x
COMMAND LIST FILTERBY
COMMAND LIST x
COMMAND DOCS nosuch
COMMAND GETKEYS
COMMAND GETKEYS nosuch x
COMMAND GETKEYS get
COMMAND GETKEYS ping x
COMMAND GETKEYS get k
COMMAND GETKEYS get k l
COMMAND GETKEYS mset a b c d
COMMAND GETKEYS del a b c
COMMAND GETKEYS copy a b REPLACE
COMMAND GETKEYS object encoding k
COMMAND GETKEYS object help
COMMAND GETKEYS object foo k
COMMAND GETKEYS client foo
COMMAND GETKEYSANDFLAGS mset a b c d
COMMAND GETKEYSANDFLAGS set a
COMMAND GETKEYSANDFLAGS set a b
COMMAND GETKEYSANDFLAGS set a b get
COMMAND GETKEYSANDFLAGS set a get
COMMAND GETKEYSANDFLAGS copy a b
COMMAND GETKEYSANDFLAGS rename a b
COMMAND GETKEYSANDFLAGS del a b
COMMAND GETKEYSANDFLAGS object freq k
COMMAND GETKEYSANDFLAGS ping x
""".strip("\n").split("\n")


@pytest.mark.parametrize("protocol", [2, 3])
def test_command_answers_with_the_bytes_of_redis(both, protocol):
    check_same(both, [line.split(" ") for line in COMMAND_QUESTIONS], protocol)


def test_command_docs_agree_with_redis_where_it_tells_the_same(both):
    told = []
    for server in both:
        table = {}
        add_documents(table, server.client(protocol=3).execute_command("COMMAND DOCS"))
        told.append(table)
    theirs, ours = told
    for name in theirs.keys() & ours.keys():
        for key in (b"since", b"group"):
            assert ours[name][key] == theirs[name][key], name
    for name, document in ours.items():
        assert document[b"summary"] and document[b"complexity"], name
    assert ours[b"fs.get"][b"group"] == b"features"
    assert b"client|kill" in ours[b"client"][b"subcommands"]


def add_documents(table: dict, documents: dict) -> None:
    for name, document in documents.items():
        table[name] = document
        add_documents(table, document.get(b"subcommands", {}))


@pytest.mark.parametrize("command", ["ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "OBJECT"])
def test_help_names_every_subcommand(nowthen, command):
    client = nowthen.client()
    lines = [text(line).decode() for line in client.execute_command(f"{command} HELP")]
    assert lines[0] == f"{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[-2:] == ["HELP", "    Prints this help."]
    pattern = f"{command.lower()}|*"
    named = client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", pattern)
    wanted = {name.decode().split("|")[1].upper() for name in named}
    told = {line.split(" ")[0] for line in lines[1:] if not line.startswith(" ")}
    assert told == wanted
