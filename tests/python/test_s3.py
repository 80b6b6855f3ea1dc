"""Sources in S3: the same answers as from the same files on the disk, and what goes wrong has a name.

Invariants
- Of an object only ranges are asked for, under the tag that it had when it was found.
- What fails in a way that may pass is tried again; what does not is told by the name of the object.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3_store
from conftest import run_nowthen
from test_sources import CITIES, DEFINITIONS, FIRST, LAYOUTS, ZONES, asof, random_rows
from test_sources import write_source, write_spine

BUCKET = "history"
WIDE = """
[entity.user]
join_keys = {{ user = "int64" }}
[view.wide]
entity = "user"
source = "{source}"
event_timestamp = "at"
features = {{ a = "float64", b = "float64", c = "float64", d = "float64" }}
"""


@pytest.fixture(scope="module")
def running():
    store, end = s3_store.serve()
    yield store
    end()


@pytest.fixture
def store(running, monkeypatch):
    """A store with an empty bucket, which this process' environment names."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.client.create_bucket(Bucket=BUCKET)
    running.requests.clear()
    yield running
    running.fault = lambda method, path: None
    for found in running.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        running.client.delete_object(Bucket=BUCKET, Key=found["Key"])
    running.client.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("layout", ["time_first", "none"])
def test_a_training_set_from_s3_is_that_of_the_same_files_on_the_disk(tmp_path, store, layout):
    root, spine = tmp_path / "source", tmp_path / "spine.parquet"
    write_source(root, LAYOUTS[layout], random_rows(3, 60), 3)
    (root / "_temporary").mkdir(exist_ok=True)
    (root / "_temporary" / "begun.parquet").write_bytes(b"not yet")
    (root / "notes.txt").write_text("not these")
    write_spine(spine, 3, CITIES[:3], ZONES[1:])
    store.upload(root, BUCKET, "deep/er/")
    here, out = asof(tmp_path, root, spine, "--json", "--explain")
    assert here.returncode == 0, here.stderr
    expected, told = pq.read_table(out), json.loads(here.stdout)
    for source in ["deep/er", "deep/er/", "deep/*", "deep/er/**/part-?.parquet"]:
        there, out = asof(tmp_path, f"s3://{BUCKET}/{source}", spine, "--json", "--explain")
        assert there.returncode == 0, there.stderr
        assert pq.read_table(out).equals(expected), source
        also = json.loads(there.stdout)
        for name in ("files", "files_skipped", "row_groups", "rows_scanned", "winners"):
            assert also[name] == told[name], (source, name)
    assert expected.num_rows - expected["rides"].null_count > 5
    parted, out = asof(tmp_path, f"s3://{BUCKET}/deep/er", spine, "--memory", "4KiB")
    assert parted.returncode == 0, parted.stderr
    assert pq.read_table(out).equals(expected)


def test_materialized_rows_from_s3_are_those_of_the_same_files(tmp_path, store, start_nowthen):
    root = tmp_path / "source"
    write_source(root, LAYOUTS["time_first"], random_rows(4, 80), 4)
    store.upload(root, BUCKET)
    until = (FIRST + dt.timedelta(hours=50)).isoformat()
    read = []
    for source in (root, f"s3://{BUCKET}"):
        server = start_nowthen(definitions=DEFINITIONS.format(source=source))
        client = server.client(protocol=3, decode_responses=True)
        runs = [
            client.execute_command("FS.MATERIALIZE", "demand", *to, "WAIT")[0]
            for to in (["TO", until], [], [])
        ]
        counts = [
            [run[name] for name in ("state", "rows_total", "rows_read", "rows_ahead")]
            for run in runs
        ]
        keys = sorted(client.keys("trip:*"))
        rides = ["FEATURES", "1", "demand:rides"]
        wrote = client.execute_command("FS.HISTORY", "trip:Oslo:7", *rides)
        of_oslo = ["FOR", "2", "city", "zone", "ROWS", "1", "Oslo", "7"]
        past = client.execute_command("FS.GET", *rides, *of_oslo, "AT", until)
        read.append([counts, [client.hgetall(key) for key in keys], wrote, past])
    assert read[0] == read[1]
    counts, rows, wrote, past = read[0]
    assert len(rows) > 5 and counts[2][2] == 0 and len(wrote) > 2 and past

    # What came later is read; what was written anew, too, even within the second.
    late = root / "at=2024-02-09" / "city=Oslo" / "zone=7" / "day_type=work"
    late.mkdir(parents=True, exist_ok=True)
    rows = {"rides": [41], "price": [0.5], "label": ["late"], "fast": [True]}
    for rides in (41, 42, 43):
        pq.write_table(pa.table({**rows, "rides": [rides]}), late / "late.parquet")
        store.upload(late, BUCKET, f"{late.relative_to(root)}/")
        (told,) = client.execute_command("FS.MATERIALIZE", "demand", "WAIT")
        assert told["state"] == "done" and told["rows_read"] > 0
        assert client.hget("trip:Oslo:7", "rides") == str(rides)


def wide(tmp_path, store, rows=200_000):
    """A file of which a question about a few users and one feature needs a small part."""
    users = [row // 10 for row in range(rows)]
    times = [FIRST + dt.timedelta(minutes=row % 10) for row in range(rows)]
    noise = [(row * 0x9E3779B97F4A7C15 % 2**64) / 2**64 for row in range(rows)]
    table = pa.table(
        {
            "user": pa.array(users, pa.int64()),
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            **{name: pa.array(noise, pa.float64()) for name in "abcd"},
        }
    )
    path = tmp_path / "wide" / "wide.parquet"
    path.parent.mkdir()
    pq.write_table(table, path, row_group_size=50_000, write_page_index=True, use_dictionary=False)
    store.upload(path.parent, BUCKET)
    spine = tmp_path / "spine.parquet"
    asked = [FIRST + dt.timedelta(hours=1)] * 3
    columns = {
        "user": pa.array([3, 9_000, 19_999], pa.int64()),
        "asked": pa.array(asked, pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(columns), spine)
    expected = [noise[user * 10 + 9] for user in (3, 9_000, 19_999)]
    return path, spine, expected


def ask_wide(tmp_path, source, spine, **options):
    repository = tmp_path / "wide_repository"
    repository.mkdir(exist_ok=True)
    (repository / "features.toml").write_text(WIDE.format(source=source))
    out = tmp_path / "wide_set.parquet"
    done = run_nowthen(
        "asof", "--repo", repository, "--spine", spine, "--out", out, "--event-timestamp", "asked",
        "--features", "wide:b", **options,
    )  # fmt: skip
    return done, out


def test_of_an_object_ranges_are_read_and_not_all_of_it(tmp_path, store):
    path, spine, expected = wide(tmp_path, store)
    done, out = ask_wide(tmp_path, f"s3://{BUCKET}/wide.parquet", spine)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(out)["b"].to_pylist() == expected
    requests = [request for request in store.requests if request.method == "GET" and request.range]
    # Keys and times are 16 bytes of 48 a row, and one feature of the row groups with winners.
    assert store.bytes_read() < 0.7 * path.stat().st_size
    assert len(requests) < 30
    assert all(request.path.startswith(f"/{BUCKET}/wide.parquet") for request in requests)


def test_what_may_pass_is_tried_again(tmp_path, store):
    _, spine, expected = wide(tmp_path, store)
    for fault in (503, 500, 429, 100, 0):
        seen: dict[str, int] = {}

        def first_time(method, path, fault=fault, seen=seen):
            """Each request fails the first time, in one of these ways."""
            seen[path] = seen.get(path, 0) + 1
            return fault if seen[path] == 1 and (fault >= 400 or method == "GET") else None

        store.fault = first_time
        done, out = ask_wide(tmp_path, f"s3://{BUCKET}/wide.parquet", spine)
        assert done.returncode == 0, (fault, done.stderr)
        assert pq.read_table(out)["b"].to_pylist() == expected, fault


def test_an_object_that_changes_meanwhile_is_an_error(tmp_path, store):
    path, spine, _ = wide(tmp_path, store)
    gets, one_at_a_time = itertools.count(1), threading.Lock()

    def write_anew(method, _):
        # Several requests come at once: all but the first find the object changed.
        with one_at_a_time:
            if method != "GET" or next(gets) != 2:
                return None
            store.client.put_object(Bucket=BUCKET, Key="wide.parquet", Body=path.read_bytes()[:-1])
        return None

    store.fault = write_anew
    done, _ = ask_wide(tmp_path, f"s3://{BUCKET}/wide.parquet", spine)
    assert done.returncode == 1, done.stdout
    assert f"s3://{BUCKET}/wide.parquet" in done.stderr and "changed while it was read" in done.stderr


def test_what_cannot_be_read_is_told_by_its_name(tmp_path, store, monkeypatch):
    spine = tmp_path / "spine.parquet"
    write_spine(spine, 0, CITIES, ZONES)
    store.client.put_object(Bucket=BUCKET, Key="folder/broken.parquet", Body=b"PAR1 no more")
    cases = {
        f"s3://{BUCKET}/nothing": f"no Parquet file matches s3://{BUCKET}/nothing",
        f"s3://{BUCKET}/folder/*.csv": f"no Parquet file matches s3://{BUCKET}/folder/*.csv",
        f"s3://{BUCKET}/folder": f"s3://{BUCKET}/folder/broken.parquet: not a Parquet file",
        "s3://nobody/folder": "NoSuchBucket",
        "s3:///folder": "expected s3://bucket/..., by name",
        "gs://bucket/folder": "expected a path or s3://bucket/..., got gs://",
    }
    for source, why in cases.items():
        done, _ = asof(tmp_path, source, spine)
        assert done.returncode == 1 and why in done.stderr, (source, done.stderr)
    store.fault = lambda method, path: 403
    done, _ = asof(tmp_path, f"s3://{BUCKET}/folder", spine)
    assert done.returncode == 1 and "AWS_ACCESS_KEY_ID" in done.stderr, done.stderr
    for name in s3_store.CREDENTIALS:
        monkeypatch.delenv(name)
    done, _ = asof(tmp_path, f"s3://{BUCKET}/folder", spine)
    assert done.returncode == 1 and "no credentials: set AWS_ACCESS_KEY_ID" in done.stderr
