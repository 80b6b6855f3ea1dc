"""FS.LOAD: an Arrow stream of rows, all of them or none, and errors that name column and row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[view.stats]
entity = "user"
event_timestamp = "at"
created_timestamp = "known"
source = "data/none.parquet"
[view.stats.features]
spend = "float64"
visits = "int64"
genre = "string"
since = "timestamp"
embedding = "float32[2]"
[view.pushed]
entity = "user"
features = { note = "string", raw = "bytes" }
"""
START = 1_700_000_000_000_000
US = pa.timestamp("us", "UTC")


@pytest.fixture
def server(start_nowthen, tmp_path):
    folder = tmp_path / "features"
    (folder / "data").mkdir(parents=True)
    (folder / "features.toml").write_text(DEFINITIONS)
    features = {
        "spend": [0.5],
        "visits": [1],
        "genre": ["x"],
        "since": pa.array([START], US),
        "embedding": pa.array([[0.0, 0.0]], pa.list_(pa.float32(), 2)),
    }
    source = table(user_id=["nobody"], known=pa.array([START], US), **features)
    pq.write_table(source, folder / "data" / "none.parquet")
    return start_nowthen("--durability", "always", repository=folder)


@pytest.fixture
def client(server) -> redis.Redis:
    return server.client(protocol=3)


def stream(table: pa.Table, compression: str | None = None, batch_rows: int = 1000) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return sink.getvalue().to_pybytes()


def table(**columns) -> pa.Table:
    count = len(next(iter(columns.values())))
    default = {
        "user_id": pa.array([f"u{n}" for n in range(count)]),
        "at": pa.array([START + n for n in range(count)], US),
    }
    return pa.table(default | columns)


def get(client: redis.Redis, user: str, features: str) -> list:
    names = features.split()
    words = ["FS.GET", "FEATURES", len(names), *names, "FOR", 1, "user_id", "ROWS", 1, user]
    return client.execute_command(*words)[0]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_a_large_stream_is_applied_once_and_survives_a_kill(server, client, compression):
    count = 10_000
    rows = table(
        spend=[n / 2 if n % 7 else None for n in range(count)],
        genre=pa.array([["jazz", "Zürich", None][n % 3] for n in range(count)]).dictionary_encode(),
        visits=pa.array([n % 100 for n in range(count)], pa.int8()),
        embedding=pa.array([[n, 1.0] for n in range(count)], pa.list_(pa.float32())),
    )
    sent = stream(rows, compression)
    assert client.execute_command("FS.LOAD", "stats", sent) == [count, 0]
    server.kill()
    server.start()
    client = server.client(protocol=3)
    assert client.execute_command("FS.LOAD", "stats", sent) in ([0, count], [count, 0])
    names = "spend genre visits embedding since"
    assert get(client, "u14", names) == [None, None, 14, [14.0, 1.0], None]
    assert get(client, "u9999", names) == [9999 / 2, b"jazz", 99, [9999.0, 1.0], None]
    written = client.execute_command("FS.HISTORY", "user:u14", "FEATURES", 2, "spend", "since")
    assert [cell[:2] for cell in written[0][3]] == [[b"spend", b"NULL_VALUE"]]
    assert written[0][0] == START + 14


def test_an_older_row_is_late_and_columns_that_are_not_there_are_not_written(client):
    client.hset("user:u0", mapping={"spend": 7, "genre": "rock"})
    assert client.execute_command("FS.LOAD", "stats", stream(table(spend=[1.0, 2.0]))) == [1, 1]
    assert get(client, "u0", "spend genre") == [7.0, b"rock"]
    assert get(client, "u1", "spend genre") == [2.0, None]


def test_a_view_that_names_no_event_timestamp_has_the_usual_one(client):
    rows = pa.table({"user_id": ["a"], "event_timestamp": pa.array([5], pa.timestamp("s")), "raw": [b"\xff"]})
    assert client.execute_command("FS.LOAD", "pushed", stream(rows)) == [1, 0]
    told = client.execute_command("FS.HISTORY", "user:a", "FEATURES", 1, "raw")
    assert told[0][0] == 5_000_000 and told[0][3] == [[b"raw", b"PRESENT", b"\xff"]]


REFUSED = {
    "a wrong type": (table(visits=[1.5]), ["column 'visits'", "double", "Float64", "expected int64"]),
    "text for a number": (table(spend=["x"]), ["column 'spend'", "Utf8", "expected float64"]),
    "a wrong key": (table(user_id=[1], spend=[1.0]), ["column 'user_id' (join key", "Int64", "string"]),
    "a wrong time": (table(at=[5], spend=[1.0]), ["column 'at' (event timestamp", "Int64", "timestamp"]),
    "an unknown column": (table(spent=[1.0]), ["'spent'", "did you mean 'spend'", "view stats"]),
    "an index of pandas": (table(spend=[1.0], __index_level_0__=[0]), ["__index_level_0__"]),
    "a created timestamp": (table(spend=[1.0], known=pa.array([5], US)), ["'known'", "when it arrives"]),
    "no key": (table(spend=[1.0]).drop_columns("user_id"), ["no column 'user_id'", "join key"]),
    "no time": (table(spend=[1.0]).drop_columns("at"), ["no column 'at'", "event timestamp"]),
    "no feature": (table(spend=[1.0]).drop_columns("spend"), ["no column of a feature of view stats"]),
    "a null key": (
        table(user_id=[*["a"] * 700, None, "b"], spend=[1.0] * 702),
        ["column 'user_id', row 701: null"],
    ),
    "a null time": (
        table(at=pa.array([*[START] * 300, None], US), spend=[1.0] * 301),
        ["column 'at', row 301: null"],
    ),
    "a time ahead": (
        table(at=pa.array([START, 4_000_000_000_000_000], US), spend=[1.0] * 2),
        ["row 2: event timestamp 2096-10-02", "ahead of the server's clock"],
    ),
    "a time beyond all years": (
        table(at=pa.array([*[0] * 1500, 2**62], pa.timestamp("ms")), spend=[1.0] * 1501),
        ["column 'at', row 1501:", "beyond"],
    ),
    "a list that is too short": (
        table(embedding=pa.array([*[[1.0, 2.0]] * 1200, [1.0]], pa.list_(pa.float32()))),
        ["column 'embedding', row 1201: a list has 1 elements, not 2, expected float32[2]"],
    ),
    "a null in a list": (
        table(embedding=pa.array([[1.0, None]], pa.list_(pa.float32()))),
        ["column 'embedding', row 1: a list has a null element"],
    ),
}


@pytest.mark.parametrize(("rows", "names"), REFUSED.values(), ids=REFUSED)
def test_one_bad_row_or_column_refuses_all(client, rows, names):
    client.hset("user:a", "genre", "rock")
    before = (client.dbsize(), client.hgetall("user:a"))
    with pytest.raises(redis.ResponseError) as refused:
        client.execute_command("FS.LOAD", "stats", stream(rows))
    text = str(refused.value)
    assert all(name in text for name in names if name != "double"), text
    assert (client.dbsize(), client.hgetall("user:a")) == before


def test_a_stream_that_lacks_its_end_is_refused(client):
    whole = stream(table(spend=[1.0] * 3000))
    for cut in (whole[:-8], whole[: len(whole) // 2], b"", b"PAR1"):
        with pytest.raises(redis.ResponseError, match="cut off|Arrow"):
            client.execute_command("FS.LOAD", "stats", cut)
    assert client.dbsize() == 0


def test_a_bomb_is_refused_before_it_is_unpacked(client):
    zeros = pa.table({"user_id": pa.array(["a"]), "at": pa.array([START], US)})
    zeros = zeros.append_column("genre", pa.array(["\0" * 300_000_000]))
    sent = stream(zeros, "zstd")
    assert len(sent) < 1_000_000
    with pytest.raises(redis.ResponseError, match="smaller batches"):
        client.execute_command("FS.LOAD", "stats", sent)
