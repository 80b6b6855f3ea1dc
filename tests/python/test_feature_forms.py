"""FS.GET AS VECTOR and AS ARROW: what numpy and pyarrow read is what AS VALUES tells."""

from __future__ import annotations

import re
import struct

import numpy
import pyarrow
import pytest
import redis
from conftest import ROOT

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[view.user_stats]
entity = "user"
ttl = "1h"
[view.user_stats.features]
spend = "float64"
visits = "int64"
is_member = "bool"
share = "float32"
embedding = "float32[3]"
since = "timestamp"
genre = "string"
[entity.item]
join_keys = { item_id = "int64" }
[view.item_stats]
entity = "item"
features = { price = "float32", stock = "int32" }
[service.model]
features = ["user_stats:spend", "user_stats:embedding", "item_stats:price"]
"""
TYPES = [None, "<f4", "<f8", "<i8"]


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, start_nowthen) -> redis.Redis:
    return start_nowthen(definitions=DEFINITIONS).client(protocol=request.param)


def read(frame: bytes) -> tuple[numpy.ndarray, numpy.ndarray, int]:
    """Matrix, statuses and flags: arrays that look into the bytes as they came."""
    magic, version, dtype, flags, rows, columns = struct.unpack_from("<4sBBHQQ", frame)
    assert (magic, version) == (b"NTFV", 1)
    cells = rows * columns
    matrix = numpy.frombuffer(frame, TYPES[dtype], cells, offset=24)
    status = numpy.frombuffer(frame, numpy.uint8, cells, offset=24 + matrix.nbytes)
    assert 24 + matrix.nbytes + status.nbytes == len(frame)
    assert matrix.flags.aligned and not matrix.flags.owndata
    return matrix.reshape(rows, columns), status.reshape(rows, columns), flags


def get(client: redis.Redis, features: str, *options: str, keys=("user_id",), rows=("a", "b")):
    names = features.split()
    words = ["FS.GET", "FEATURES", len(names), *names, "FOR", len(keys), *keys]
    words += ["ROWS", len(rows) // len(keys), *rows, *options]
    return client.execute_command(*words)


def test_the_type_follows_from_the_features_and_never_from_the_values(client):
    for features, dtype in [
        ("visits", "<i8"),
        ("visits is_member since", "<i8"),
        ("is_member", "<i8"),
        ("share", "<f4"),
        ("share is_member embedding", "<f4"),
        ("share visits", "<f8"),
        ("share since", "<f8"),
        ("spend", "<f8"),
        ("spend share", "<f8"),
    ]:
        matrix, status, flags = read(get(client, features, "AS", "VECTOR"))
        assert matrix.dtype == numpy.dtype(dtype), features
        assert (status == 3).all() and flags == 0
        assert (matrix == 0).all() if dtype == "<i8" else numpy.isnan(matrix).all()


def test_integers_keep_every_bit_or_the_frame_says_that_they_do_not(client):
    extremes = [2**63 - 1, -(2**63), 2**53 + 1, 2**53, 0]
    for row, value in enumerate(extremes):
        client.hset(f"user:{row}", "visits", value)
    rows = [str(row) for row in range(len(extremes))]
    matrix, status, flags = read(get(client, "visits", "AS", "VECTOR", rows=rows))
    assert matrix[:, 0].tolist() == extremes and flags == 0 and not status.any()
    matrix, status, flags = read(get(client, "visits spend", "AS", "VECTOR", rows=rows))
    assert matrix[:, 0].tolist() == [float(value) for value in extremes] and flags == 1
    _, _, flags = read(get(client, "visits spend", "AS", "VECTOR", rows=["1", "3"]))
    assert flags == 0


def test_a_stored_nan_is_present_and_a_missing_value_is_not(client):
    client.hset("user:a", mapping={"spend": "nan", "share": "-inf", "embedding": '[1,-0.0,"nan"]'})
    matrix, status, _ = read(get(client, "spend embedding share", "AS", "VECTOR"))
    assert status.tolist() == [[0, 0, 0, 0, 0], [3, 3, 3, 3, 3]]
    assert numpy.isnan(matrix[0, [0, 3]]).all() and matrix[0, 4] == -numpy.inf
    assert numpy.signbit(matrix[0, 2]) and numpy.isnan(matrix[1]).all()
    known = numpy.ma.masked_array(matrix, status)
    assert known.mask[1].all() and not known.mask[0].any()


def test_features_of_several_entities_and_of_a_service_stand_in_one_row(client):
    client.hset("user:a", mapping={"spend": "12.5", "embedding": "[1,2,3]"})
    client.hset("item:7", mapping={"price": "9.5", "stock": -3})
    rows = ("a", "7", "b", "7", "a", "8")
    frame = get(client, "stock spend price", "AS", "VECTOR", keys=("user_id", "item_id"), rows=rows)
    matrix, status, _ = read(frame)
    assert status.tolist() == [[0, 0, 0], [0, 3, 0], [3, 0, 3]]
    assert matrix[0].tolist() == [-3, 12.5, 9.5]
    words = "FS.GET SERVICE model FOR 2 item_id user_id ROWS 1 7 a AS VECTOR".split()
    matrix, _, _ = read(client.execute_command(*words))
    assert matrix.tolist() == [[12.5, 1, 2, 3, 9.5]]


def test_a_vector_of_the_past_is_what_was_known_then(client):
    words = ["FS.SET", "user_stats", "EVENT", "2026-05-03T12:00:00Z", "ROWS", 1]
    client.execute_command(*words, "FEATURES", 2, "spend", "embedding", "a", "1.5", "[1,2,3]")
    for at, status in [("2026-05-03T13:00:00Z", 0), ("2026-05-03T13:00:01Z", 2), ("2026-05-03", 3)]:
        matrix, statuses, _ = read(get(client, "spend embedding", "AT", at, "AS", "VECTOR"))
        assert (statuses[0] == status).all() and (statuses[1] == 3).all()
        wanted = [1.5, 1, 2, 3] if status == 0 else [numpy.nan] * 4
        numpy.testing.assert_array_equal(matrix[0], wanted)


def test_a_hundred_thousand_rows_are_one_frame_and_one_more_is_refused(client):
    client.hset("user:1", "visits", 5)
    rows = [str(row % 3) for row in range(100_000)]
    matrix, status, _ = read(get(client, "visits", "AS", "VECTOR", rows=rows))
    assert matrix.shape == (100_000, 1)
    assert matrix.sum() == 5 * rows.count("1") and (status == 3).sum() == 100_000 - rows.count("1")
    with pytest.raises(redis.ResponseError, match="from 1 to 100000"):
        get(client, "visits", "AS", "VECTOR", rows=[*rows, "1"])
    with pytest.raises(redis.ResponseError, match="from 1 to 100000"):
        client.execute_command(*"FS.GET FEATURES 1 visits FOR 1 user_id ROWS 0 AS VECTOR".split())


def test_text_is_refused_by_name(client):
    with pytest.raises(redis.ResponseError, match="feature user_stats:genre is string: a vector"):
        get(client, "spend genre", "AS", "VECTOR")


def test_the_python_of_the_protocol_document_gives_what_the_document_says(client):
    text = (ROOT / "protocol" / "PROTOCOL.md").read_text()
    section = text[text.index("#### AS VECTOR") :]
    dump, cells, code = (
        re.search(f"```{name}\n(.*?)```", section, re.DOTALL).group(1)
        for name in ("frame", "cells", "python")
    )
    client.hset("user:8a2f", mapping={"spend": "12.5", "visits": 4, "is_member": 1})
    client.hset("user:9b00", "visits", -3)
    names = {"client": client, "struct": struct, "numpy": numpy}
    exec(code, names)
    told = bytes.fromhex("".join(line[8:] for line in dump.splitlines()))
    # The null of the document cannot be pushed as text: here the cell is not there at all.
    at = len(told) - 3
    assert told[at] == 1
    assert names["frame"] == told[:at] + b"\x03" + told[at + 1 :]
    assert names["known"].tolist() == [[12.5, 4, 1], [None, -3, None]]
    assert cells.splitlines()[0] == "f64 2 3"


def table(client: redis.Redis, features: str, *options: str, **rows) -> pyarrow.Table:
    stream = get(client, features, *options, "AS", "ARROW", **rows)
    read = pyarrow.ipc.open_stream(stream).read_all()
    read.validate(full=True)
    return read


def test_a_table_has_the_declared_types(client):
    client.hset("user:a", mapping={"spend": "nan", "visits": 2**63 - 1, "embedding": "[1,2,3]"})
    client.hset("user:a", mapping={"genre": "Zürich", "since": "2026-05-03", "is_member": 0})
    features = "visits spend share is_member since genre embedding"
    read = table(client, features)
    assert read.schema.names == ["user_id", *features.split()]
    utc, floats = pyarrow.timestamp("us", "UTC"), pyarrow.list_(pyarrow.float32(), 3)
    assert [str(field.type) for field in read.schema] == [
        "string", "int64", "double", "float", "bool", str(utc), "string", str(floats)
    ]
    first, second = read.to_pylist()
    assert (first["visits"], first["genre"], first["is_member"]) == (2**63 - 1, "Zürich", False)
    assert numpy.isnan(first["spend"]) and first["share"] is None and first["embedding"] == [1, 2, 3]
    assert first["since"].isoformat() == "2026-05-03T00:00:00+00:00"
    assert second == {"user_id": "b"} | dict.fromkeys(features.split())


def test_statuses_and_times_stand_behind_their_features(client):
    words = ["FS.SET", "user_stats", "EVENT", "2026-05-03T12:00:00Z", "ROWS", 1]
    client.execute_command(*words, "FEATURES", 1, "spend", "a", "1.5")
    read = table(client, "spend visits", "WITHSTATUS", "WITHTIME")
    assert read.schema.names == [
        "user_id", "spend", "spend__status", "spend__ts", "visits", "visits__status", "visits__ts"
    ]
    first, second = read.to_pylist()
    assert first["spend"] is None and first["spend__status"] == "OUTSIDE_MAX_AGE"
    assert first["spend__ts"].isoformat() == "2026-05-03T12:00:00+00:00"
    assert second["spend__status"] == "NOT_FOUND" and second["spend__ts"] is None
    then = table(client, "spend", "WITHSTATUS", "AT", "2026-05-03T12:30:00Z").to_pylist()
    assert [row["spend__status"] for row in then] == ["PRESENT", "NOT_FOUND"]
    assert then[0]["spend"] == 1.5


def test_a_service_over_two_entities_is_one_table(client):
    client.hset("user:a", "spend", 2.5)
    client.hset("item:7", "price", 9.5)
    words = "FS.GET SERVICE model FOR 2 user_id item_id ROWS 2 a 7 b 007 AS ARROW".split()
    read = pyarrow.ipc.open_stream(client.execute_command(*words)).read_all()
    assert read.schema.field("item_id").type == pyarrow.int64()
    assert read.select(["user_id", "item_id", "spend", "price"]).to_pylist() == [
        {"user_id": "a", "item_id": 7, "spend": 2.5, "price": 9.5},
        {"user_id": "b", "item_id": 7, "spend": None, "price": 9.5},
    ]


def test_a_large_table_comes_in_batches_and_is_whole(client):
    client.hset("user:1", mapping={"visits": 5, "genre": "x" * 1000})
    rows = [str(row % 3) for row in range(100_000)]
    stream = get(client, "visits genre", "WITHSTATUS", "AS", "ARROW", rows=rows)
    batches = list(pyarrow.ipc.open_stream(stream))
    assert len(batches) > 1
    read = pyarrow.Table.from_batches(batches)
    assert read.column("user_id").to_pylist() == rows
    status = ["PRESENT" if row == "1" else "NOT_FOUND" for row in rows]
    assert read.column("genre__status").to_pylist() == status
    assert read.column("visits").to_pylist() == [5 if row == "1" else None for row in rows]
