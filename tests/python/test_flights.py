"""The New York flights of 2013, whole: training sets, reads as of then, materialization, HTTP.

The judge of the join is DuckDB: its ASOF JOIN, with the TTL as a filter behind it. Of rows with
one key and one event timestamp the last in the order of the file wins.

Invariants
- The clock of every server here starts at noon (UTC) of 4 July 2013, so values are within TTL.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import struct
import subprocess
import termios
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
import redis
from conftest import BINARY, FLIGHTS, NOON, Nowthen, run_nowthen

DATA = FLIGHTS / "data"
SPINE = DATA / "flights.parquet"
FEATURES = [
    "airport_weather:temp",
    "airport_weather:wind_speed",
    "plane_landings:last_arr_delay",
    "plane_facts:seats",
]
ROWS = 336_776
# Column: rows with a value, and their sum. The numbers of the issue.
EXPECTED = {
    "temp": (335_983, 19_146_747.26),
    "wind_speed": (335_922, 3_734_080.864),
    "last_arr_delay": (325_072, 2_313_453),
    "seats": (284_170, 38_851_317),
}
AIRPORTS = ["EWR", "JFK", "LGA"]
PLANES_ASKED = 200
VIEWS = ["airport_weather", "plane_landings", "plane_facts"]


def oracle(spine: Path, airport_column: str = "origin", landings: Path = DATA / "landings.parquet"):
    """What DuckDB makes of the same files: the spine's columns, then the features."""
    tables = f"""
        WITH spine AS (
            SELECT *, row_number() OVER (ORDER BY file_row_number) AS nth
            FROM read_parquet('{spine}', file_row_number = true)
        ), landing AS (
            SELECT * FROM read_parquet('{landings}', file_row_number = true)
            QUALIFY row_number() OVER (
                PARTITION BY tailnum, landed_at ORDER BY file_row_number DESC) = 1
        )"""
    query = f"""{tables}
        SELECT spine.* EXCLUDE (file_row_number, nth),
            CASE WHEN sched_departure - time_hour <= INTERVAL 6 HOUR THEN temp END AS temp,
            CASE WHEN sched_departure - time_hour <= INTERVAL 6 HOUR THEN wind_speed END
                AS wind_speed,
            CASE WHEN sched_departure - landed_at <= INTERVAL 720 HOUR THEN last_arr_delay END
                AS last_arr_delay,
            seats
        FROM spine
        ASOF LEFT JOIN '{DATA}/weather.parquet' AS weather
            ON spine.{airport_column} = weather.origin AND sched_departure >= time_hour
        ASOF LEFT JOIN landing
            ON spine.tailnum = landing.tailnum AND sched_departure >= landed_at
        ASOF LEFT JOIN '{DATA}/planes.parquet' AS planes
            ON spine.tailnum = planes.tailnum AND sched_departure >= known_from
        ORDER BY nth"""
    return in_duckdb(query).to_arrow_table()


def in_duckdb(query: str) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    return connection.sql(query)


def assert_same(got: pa.Table, expected: pa.Table) -> None:
    """Row by row and bit for bit; the names and the order of columns too."""
    assert got.column_names == expected.column_names
    assert got.num_rows == expected.num_rows
    for name in expected.column_names:
        theirs = expected[name].combine_chunks()
        ours = got[name].cast(expected.schema.field(name).type).combine_chunks()
        if not ours.equals(theirs):
            raise AssertionError(f"column {name}, first rows that differ: {differing(ours, theirs)}")


def differing(ours: pa.Array, theirs: pa.Array) -> list[tuple]:
    pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
    return [(row, a, b) for row, (a, b) in enumerate(pairs) if a != b][:5]


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Path:
    """The training set that `nowthen asof` writes."""
    out = tmp_path_factory.mktemp("training") / "training.parquet"
    done = asof("--features", ",".join(FEATURES), "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def asof(*arguments: str | Path, spine: Path = SPINE, repository: Path = FLIGHTS):
    return run_nowthen("asof", "--repo", repository, "--spine", spine, *arguments)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serves the flights, materialized as of noon."""
    server = Nowthen(tmp_path_factory.mktemp("flights"), FLIGHTS, ("--clock-start", NOON))
    server.start()
    server.client().execute_command("FS.MATERIALIZE", "*", "WAIT")
    yield server
    server.kill()


# --- nowthen asof


def test_the_training_set_has_the_counts_and_sums_of_the_issue(training):
    table = pq.read_table(training)
    assert table.num_rows == ROWS
    for name, (count, total) in EXPECTED.items():
        column = table[name]
        assert len(column) - column.null_count == count, name
        assert pc.sum(column).as_py() == pytest.approx(total, abs=5e-4), name


def test_the_training_set_equals_duckdb_row_by_row(training):
    assert_same(pq.read_table(training), oracle(SPINE))


def test_the_spine_comes_back_as_it_was(training):
    spine = pq.read_table(SPINE)
    table = pq.read_table(training).select(spine.column_names)
    assert table.schema.types == spine.schema.types
    assert table.equals(spine.cast(table.schema))


def test_a_renamed_join_key_takes_the_weather_of_the_destination(tmp_path):
    out = tmp_path / "mapped.parquet"
    done = asof("--features", ",".join(FEATURES), "--map", "origin=dest", "--out", out)
    assert done.returncode == 0, done.stderr
    assert_same(pq.read_table(out), oracle(SPINE, airport_column="dest"))


def test_a_service_gives_its_features_in_its_order(tmp_path):
    out = tmp_path / "service.parquet"
    done = asof("--service", "delay_model", "--full-names", "--out", out)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out)
    names = [
        "airport_weather__temp", "airport_weather__wind_speed", "airport_weather__visib",
        "plane_landings__last_arr_delay", "plane_landings__last_dep_delay",
        "plane_facts__seats", "plane_facts__built",
    ]  # fmt: skip
    assert table.column_names == pq.read_schema(SPINE).names + names
    assert len(table) - table["plane_facts__seats"].null_count == EXPECTED["seats"][0]


def test_explain_tells_what_was_read_and_how_long_each_phase_took(tmp_path):
    options = ["--features", ",".join(FEATURES), "--out", tmp_path / "o.arrow"]
    done = asof(*options, "--json", "--explain")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    phases = {"spine", "open", "group", "scan", "gather", "fill", "write"}
    assert set(report["phases"]) == phases
    assert sum(report["phases"].values()) <= report["seconds"]
    files = [FLIGHTS / "data" / f"{name}.parquet" for name in ("weather", "landings", "planes")]
    row_groups = sum(pq.read_metadata(file).num_row_groups for file in files)
    assert report["row_groups"] + report["row_groups_skipped"] == row_groups
    assert 0 < report["winners"] <= report["rows_scanned"]
    done = asof(*options, "--explain")
    assert f"{report['winners']} rows decoded for their features" in done.stdout
    assert "  gather " in done.stdout
    assert report["pages"] > 0 and f"{report['pages']} pages read" in done.stdout
    assert "row groups" not in asof(*options).stdout


def test_a_terminal_shows_each_phase_and_how_many_row_groups_are_read(tmp_path):
    """On standard error, and gone at the end; elsewhere there is nothing but the result."""
    repository = copy_of_flights(tmp_path)
    landings = pq.read_table(DATA / "landings.parquet")
    pq.write_table(landings, repository / "data" / "landings.parquet", row_group_size=2_000)
    options = ["--spine", SPINE, "--features", "plane_landings:*", "--json", "--explain"]
    command = ["asof", "--repo", repository, "--out", tmp_path / "set.arrow", *options]
    shown, told = on_terminal(*command)
    report = json.loads(told)
    read = f"{report['row_groups']:,}"
    assert report["row_groups"] > 100
    timed = ["open, 0s", "spine, 0s", "group, 0s"], ["gather, 0s", "fill, 0s", "write, 0s"]
    places = [shown.index(text) for text in (*timed[0], "scan of plane_landings", *timed[1])]
    assert places == sorted(places), shown
    counts = re.findall(r"scan of plane_landings [█░]+ ([\d,]+)/([\d,]+) row groups", shown)
    assert counts[-1] == (read, read) and {total for _, total in counts} == {read}, counts
    assert shown.endswith("\r\x1b[2K")
    assert run_nowthen(*command).stderr == ""


def test_a_report_counts_what_a_naive_look_counts(tmp_path, training):
    """Judges: the set itself, the same set without TTL, and DuckDB for the ages."""
    out, report = tmp_path / "set.parquet", tmp_path / "set.json"
    done = asof("--features", ",".join(FEATURES), "--out", out, "--report", report)
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    table = pq.read_table(out)
    assert_same(table, pq.read_table(training))
    endless = copy_of_flights(tmp_path)
    (endless / "features.toml").write_text(
        re.sub(r"ttl = .*", "", (endless / "features.toml").read_text())
    )
    done = asof("--features", ",".join(FEATURES), "--out", tmp_path / "e.arrow",
                "--report", tmp_path / "e.json", repository=endless)  # fmt: skip
    assert done.returncode == 0, done.stderr
    unlimited = json.loads((tmp_path / "e.json").read_text())["features"]
    keys = {"airport_weather": "origin", "plane_landings": "tailnum", "plane_facts": "tailnum"}
    for feature, endless_feature in zip(told["features"], unlimited, strict=True):
        column, nulls = table[feature["column"]], feature["nulls"]
        assert feature["rows"] == ROWS
        assert feature["present"] == ROWS - column.null_count
        assert feature["null_rate"] == column.null_count / ROWS
        assert sum(nulls.values()) == column.null_count
        key = keys[feature["feature"].split(":")[0]]
        assert nulls["no_key_or_time"] == table[key].null_count
        assert nulls["no_row"] == endless_feature["nulls"]["no_row"]
        assert endless_feature["nulls"]["too_old"] == nulls["deleted"] == 0
        hidden = endless_feature["present"] + endless_feature["nulls"]["null_in_row"]
        assert nulls["too_old"] == hidden - feature["present"] - nulls["null_in_row"]
    query = f"""
        SELECT min(age), quantile_disc(age, 0.5), quantile_disc(age, 0.99), max(age) FROM (
            SELECT epoch_us(sched_departure) - epoch_us(time_hour) AS age
            FROM '{SPINE}' AS spine ASOF JOIN '{DATA}/weather.parquet' AS weather
            ON spine.origin = weather.origin AND sched_departure >= time_hour
            WHERE temp IS NOT NULL) WHERE age <= 21600000000"""
    least, middle, late, greatest = in_duckdb(query).fetchall()[0]
    age = told["features"][0]["age_us"]
    assert (age["min"], age["max"]) == (least, greatest)
    assert middle <= age["p50"] <= middle * 1.001 and late <= age["p99"] <= late * 1.001


def test_a_report_names_every_definition_and_file(tmp_path):
    options = ["--service", "delay_model", "--map", "origin=dest", "--full-names", "--threads", "1"]
    out, report = tmp_path / "set.parquet", tmp_path / "set.json"
    done = asof(*options, "--out", out, "--report", report)
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert list(told) == [
        "format", "nowthen", "started", "seconds", "request", "spine", "result", "views",
        "features", "read",
    ]  # fmt: skip
    request = told["request"]
    assert (request["service"]["name"], request["service"]["version"]) == ("delay_model", 1)
    assert request["map"] == [{"join_key": "origin", "column": "dest"}]
    assert (request["known_by"], request["full_names"]) == ("event", True)
    assert [view["name"] for view in told["views"]] == VIEWS
    assert [view["ttl"] for view in told["views"]] == ["6h", "30d", None]
    assert all((view["version"], view["generation"]) == (1, 1) for view in told["views"])
    for file in [told["spine"], told["result"], *(f for view in told["views"] for f in view["files"])]:
        path = Path(file["path"])
        assert file["bytes"] == path.stat().st_size
        assert file["rows"] == pq.read_metadata(path).num_rows
        assert len(file["blake3"]) == 64
    again = tmp_path / "again.json"
    done = asof(*options, "--out", out, "--report", again)
    assert done.returncode == 0, done.stderr
    repeated = json.loads(again.read_text())
    for name in ("started", "seconds"):
        told.pop(name), repeated.pop(name)
    assert repeated == told
    clash = asof(*options, "--out", out, "--report", f"{tmp_path}/./set.parquet")
    assert clash.returncode == 1 and "name another file" in clash.stderr


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_a_set_made_in_parts_is_the_set_made_at_once(tmp_path, ending):
    """With less memory than its columns take; nothing stays beside it."""
    spine = tmp_path / "spine.parquet"
    pq.write_table(pq.read_table(SPINE).slice(150_000, 25_000), spine, row_group_size=7_001)
    told = []
    for name, options in {"whole": [], "parts": ["--memory", "1MiB"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        options += ["--out", folder / f"set.{ending}", "--report", tmp_path / f"{name}.json"]
        done = asof("--features", "plane_landings:*,airport_weather:*", *options, "--json",
                    "--explain", spine=spine)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [path.name for path in folder.iterdir()] == [f"set.{ending}"]
        told.append((json.loads(done.stdout), json.loads((tmp_path / f"{name}.json").read_text())))
    assert told[0][0]["pieces"] == 1 and told[1][0]["pieces"] > 4
    assert told[0][1]["features"] == told[1][1]["features"]
    whole, parts = tmp_path / "whole" / f"set.{ending}", tmp_path / "parts" / f"set.{ending}"
    if ending == "csv":
        assert whole.read_bytes() == parts.read_bytes()
    else:
        assert_same(read_any(parts), read_any(whole))


def test_a_failure_in_parts_leaves_nothing_and_is_told_as_without(tmp_path):
    spine = tmp_path / "spine.parquet"
    table = pq.read_table(SPINE).slice(0, 20_000)
    pq.write_table(table.append_column("temp", table["origin"]), spine)
    answers = []
    for options in ([], ["--memory", "100kb"]):
        folder = tmp_path / str(len(answers))
        folder.mkdir()
        done = asof("--features", "airport_weather:temp", "--out", folder / "o.parquet", *options,
                    spine=spine)  # fmt: skip
        assert done.returncode == 1 and not list(folder.iterdir())
        answers.append(done.stderr)
    assert "temp" in answers[0] and answers[0] == answers[1]
    for wrong in ("0", "1.5GiB", "much", "1TB"):
        done = asof("--features", "airport_weather:temp", "--out", tmp_path / "o.csv",
                    "--memory", wrong)  # fmt: skip
        assert done.returncode == 1 and "512MiB" in done.stderr, wrong


def test_csv_and_arrow_hold_what_parquet_holds(tmp_path):
    small = tmp_path / "small.parquet"
    pq.write_table(pq.read_table(SPINE).slice(100_000, 500), small)
    tables = []
    for ending in ("parquet", "arrow", "csv"):
        out = tmp_path / f"out.{ending}"
        done = asof("--features", ",".join(FEATURES), "--out", out, spine=small)
        assert done.returncode == 0, done.stderr
        tables.append(read_any(out))
    assert_same(tables[1], tables[0])
    assert tables[2].column("temp").to_pylist() == tables[0].column("temp").to_pylist()
    assert tables[2].column("flight_id").to_pylist() == tables[0].column("flight_id").to_pylist()


def read_any(path: Path) -> pa.Table:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path)
        case ".csv":
            from pyarrow import csv

            return csv.read_csv(path)
    return read_arrow(path.read_bytes())


def read_arrow(data: bytes) -> pa.Table:
    """An IPC file, or an IPC stream."""
    if data.startswith(b"ARROW1"):
        return pa.ipc.open_file(data).read_all()
    return pa.ipc.open_stream(data).read_all()


def test_of_landings_at_one_instant_the_last_row_wins(tmp_path):
    """The flights have no such tie, so one is made: every fifth landing once more, later."""
    repository = copy_of_flights(tmp_path)
    landings = pq.read_table(DATA / "landings.parquet")
    again = landings.take(list(range(0, len(landings), 5)))
    delays = pc.add(again["last_arr_delay"], 1000.0)
    place = landings.schema.get_field_index("last_arr_delay")
    again = again.set_column(place, landings.schema.field(place), delays)
    tied = repository / "data" / "landings.parquet"
    pq.write_table(pa.concat_tables([landings, again]), tied, row_group_size=50_000)
    out = tmp_path / "tied.parquet"
    done = asof("--features", ",".join(FEATURES), "--out", out, repository=repository)
    assert done.returncode == 0, done.stderr
    assert_same(pq.read_table(out), oracle(SPINE, landings=tied))


def test_known_by_arrival_is_refused_for_a_view_without_created_timestamp(tmp_path):
    out = tmp_path / "arrival.parquet"
    done = asof("--features", "airport_weather:temp", "--known-by", "arrival", "--out", out)
    assert done.returncode == 1 and not out.exists()
    assert "airport_weather" in done.stderr and "created_timestamp" in done.stderr


# --- FS.ASOF


def ipc_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def fs_asof(server, spine: pa.Table, *options: str):
    selection = ("FEATURES", len(FEATURES), *FEATURES)
    return server.client(protocol=3).execute_command(
        "FS.ASOF", *selection, "SPINE", ipc_stream(spine), *options
    )


def test_a_training_set_over_the_wire_equals_the_file(server, training):
    reply = fs_asof(server, pq.read_table(SPINE))
    assert_same(read_arrow(reply), pq.read_table(training))


def test_options_over_the_wire_do_what_they_do_on_the_command_line(server, tmp_path):
    spine = pq.read_table(SPINE).slice(200_000, 2_000)
    path = tmp_path / "spine.parquet"
    pq.write_table(spine, path)
    mapped = read_arrow(fs_asof(server, spine, "MAP", "1", "origin", "dest"))
    assert_same(mapped, oracle(path, airport_column="dest"))
    full = read_arrow(fs_asof(server, spine, "FULLNAMES", "TIME", "sched_departure"))
    names = [name.replace(":", "__") for name in FEATURES]
    assert full.column_names == spine.column_names + names
    assert_same(full.rename_columns(mapped.column_names), oracle(path))


def test_a_server_logs_each_phase_at_the_level_of_debugging(start_nowthen, monkeypatch):
    spine = pq.read_table(SPINE).slice(0, 100)

    def phases(level: str) -> list[str]:
        monkeypatch.setenv("NOWTHEN_LOG", level)
        server = start_nowthen("--clock-start", NOON, repository=FLIGHTS)
        command = ["FS.ASOF", "FEATURES", 1, "airport_weather:temp", "SPINE", ipc_stream(spine)]
        server.client().execute_command(*command)
        server.client().execute_command(*command, "INTO", "logged")
        server.stop()
        return re.findall(r'making a training set phase="(\w+)"', server.output.read_text())

    one = ["spine", "group", "pushed", "scan", "gather", "fill", "write"]
    assert phases("nowthen=debug") == one * 2
    assert phases("info") == []


def test_info_tells_how_far_a_training_set_is_while_it_is_made(server):
    spine, watcher, told = pq.read_table(SPINE), server.client(), []
    for _ in range(20):
        maker = threading.Thread(target=fs_asof, args=(server, spine))
        maker.start()
        while maker.is_alive():
            info = watcher.info("training")
            sets = [value for name, value in info.items() if name.startswith("training_set_")]
            assert info["training_sets_in_progress"] == len(sets) <= 1
            told += sets
        maker.join()
        if any(line["phase"] == "scan" and line["row_groups_total"] for line in told):
            break
    scans = [line for line in told if line["phase"] == "scan"]
    assert any(line["row_groups_total"] > 0 for line in scans), told
    assert {line["rows"] for line in told} <= {0, ROWS}
    assert {line["view"] for line in scans} <= set(VIEWS)
    assert all(line["row_groups_read"] <= line["row_groups_total"] for line in scans)
    assert watcher.info("training") == {"training_sets_in_progress": 0}


def test_into_leaves_the_training_set_with_the_server(server, tmp_path):
    spine = pq.read_table(SPINE).slice(0, 2_000)
    path = tmp_path / "spine.parquet"
    pq.write_table(spine, path)
    reply = fs_asof(server, spine, "INTO", "first_days")
    assert reply[b"rows"] == 2_000
    written = Path(reply[b"path"].decode())
    assert written.is_relative_to(server.data)
    assert_same(pq.read_table(written), oracle(path))
    reply = fs_asof(server, spine, "INTO", "reported", "REPORT")
    told = json.loads(Path(reply[b"report"].decode()).read_text())
    assert (told["spine"]["path"], told["spine"]["bytes"]) == (None, len(ipc_stream(spine)))
    assert told["result"]["path"] == reply[b"path"].decode()
    table = pq.read_table(reply[b"path"].decode())
    for feature in told["features"]:
        assert sum(feature["nulls"].values()) == table[feature["column"]].null_count
    assert [view["pushed"]["rows"] for view in told["views"]] == [0, 0, 0]
    with pytest.raises(redis.ResponseError, match="syntax error"):
        fs_asof(server, spine, "REPORT")


def test_into_writes_the_format_that_is_asked_for_and_explains(server):
    spine = pq.read_table(SPINE).slice(0, 2_000)
    written = {}
    for word, extension in [("PARQUET", ".parquet"), ("ARROW", ".arrow"), ("CSV", ".csv")]:
        reply = fs_asof(server, spine, "INTO", "formats", "AS", word, "EXPLAIN")
        written[word] = Path(reply[b"path"].decode())
        assert (reply[b"rows"], written[word].suffix) == (2_000, extension)
        told = reply[b"explain"]
        assert told[b"files"] == 3 and told[b"row_groups"] > 0 and told[b"rows_scanned"] > 0
        assert 0 < sum(told[b"seconds"].values()) < 60 and b"scan" in told[b"seconds"]
    table = pq.read_table(written["PARQUET"])
    assert_same(pa.ipc.open_file(written["ARROW"]).read_all(), table)
    assert csv.read_csv(written["CSV"]).num_rows == table.num_rows
    with pytest.raises(redis.ResponseError, match="expected AS PARQUET, AS ARROW or AS CSV"):
        fs_asof(server, spine, "INTO", "formats", "AS", "JSON")
    with pytest.raises(redis.ResponseError, match="syntax error"):
        fs_asof(server, spine, "EXPLAIN")


def test_asof_memory_changes_no_answer_over_the_wire(server, tmp_path):
    spine = pq.read_table(SPINE).slice(100_000, 10_000)
    whole = read_arrow(fs_asof(server, spine))
    client = server.client()
    client.config_set("asof-memory", "2mb")
    try:
        assert_same(read_arrow(fs_asof(server, spine)), whole)
        reply = fs_asof(server, spine, "INTO", "in_parts", "REPORT")
        assert_same(pq.read_table(reply[b"path"].decode()), whole)
        report = json.loads(Path(reply[b"report"].decode()).read_text())
        assert report["read"]["pieces"] > 1
        assert fs_asof(server, spine.slice(0, 0)).startswith(b"\xff\xff\xff\xff")
    finally:
        client.config_set("asof-memory", "0")
    folder = server.data / "training"
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


# --- FS.GET


def planes_asked() -> list[str]:
    """Planes spread over the year's flights, some without a landing or without facts."""
    query = f"""
        SELECT DISTINCT tailnum FROM '{SPINE}' WHERE tailnum IS NOT NULL
        ORDER BY md5(tailnum) LIMIT {PLANES_ASKED}"""
    return [row[0] for row in in_duckdb(query).fetchall()]


def fs_get(server, features: list[str], join_key: str, keys: list[str], *options: str) -> list:
    return server.client(protocol=3).execute_command(
        "FS.GET", "FEATURES", len(features), *features, "FOR", 1, join_key, "ROWS", len(keys),
        *keys, *options,
    )  # fmt: skip


def of_views(*views: str) -> list[str]:
    return [feature for feature in FEATURES if feature.split(":")[0] in views]


ASKED = [
    ("origin", of_views("airport_weather"), lambda: [*AIRPORTS, "ZZZ"]),
    ("tailnum", of_views("plane_landings", "plane_facts"), lambda: [*planes_asked(), "NONE"]),
]


@pytest.mark.parametrize(("join_key", "features", "keys"), ASKED, ids=["airports", "planes"])
def test_a_read_as_of_noon_equals_the_join_and_the_online_store(server, tmp_path, join_key, features, keys):
    keys = keys()
    at_noon = fs_get(server, features, join_key, keys, "AT", NOON)
    assert at_noon == joined_at_noon(join_key, features, keys, tmp_path)
    assert [row for row in at_noon if row.count(None) < len(row)]
    both = ("WITHSTATUS", "WITHTIME")
    online = fs_get(server, features, join_key, keys, *both)
    assert online == fs_get(server, features, join_key, keys, "AT", NOON, *both)


def joined_at_noon(join_key: str, features: list[str], keys: list[str], folder: Path) -> list[list]:
    noon = pc.cast(pa.array([NOON[:-1]] * len(keys)), pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    columns = {"origin": pa.nulls(len(keys), pa.string()), "tailnum": pa.nulls(len(keys), pa.string())}
    columns[join_key] = pa.array(keys)
    path = folder / "noon.parquet"
    pq.write_table(pa.table({**columns, "sched_departure": noon}), path)
    table = oracle(path)
    names = [feature.split(":")[1] for feature in features]
    return [list(row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]


def test_hmget_shows_what_fs_get_shows(server):
    client = server.client()
    for airport in AIRPORTS:
        (row,) = fs_get(server, of_views("airport_weather"), "origin", [airport])
        texts = client.hmget(f"airport:{airport}", "temp", "wind_speed")
        assert [float(text) for text in texts] == row


def test_nowthen_get_prints_values_with_status_and_time(server):
    done = run_nowthen("get", "airport:JFK", "temp", "wind_gust", "--at", NOON, "--url", server.url)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["temp", "wind_gust"]
    assert float(lines[0][1]) > 0 and lines[0][2] == "PRESENT"
    assert lines[1][1:3] == ["null", "NULL_VALUE"]
    assert lines[0][3].startswith("2013-07-04T1")


def test_a_value_ends_with_its_ttl_and_says_so(server):
    def weather(at: str) -> list:
        (row,) = fs_get(server, ["airport_weather:temp"], "origin", ["JFK"], "AT", at, "WITHSTATUS")
        return row[0]

    # The last hour of weather is 2013-12-30T23:00Z; its TTL is 6 h, both ends inclusive.
    query = f"""
        SELECT epoch_us(max(time_hour) + INTERVAL 6 HOUR)
        FROM '{DATA}/weather.parquet' WHERE origin = 'JFK'"""
    end_us = in_duckdb(query).fetchall()[0][0]
    assert weather(str(end_us))[1] == b"PRESENT"
    assert weather(str(end_us + 1)) == [None, b"OUTSIDE_MAX_AGE"]
    assert weather("2012-01-01T00:00:00Z") == [None, b"NOT_FOUND"]


# --- materialization


def on_terminal(*arguments: str | Path) -> tuple[str, str]:
    """What a command shows on a terminal that is its standard error, and what it tells."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown = bytearray()

    def look() -> None:
        # The end of a terminal nobody holds any more is an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown.extend(piece)

    looking = threading.Thread(target=look)
    looking.start()
    environment = {**os.environ, "TERM": "xterm"}
    command = [str(BINARY), *map(str, arguments)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, timeout=60
    )
    os.close(theirs)
    looking.join()
    os.close(ours)
    assert done.returncode == 0, shown.decode()
    return shown.decode(), done.stdout


def copy_of_flights(folder: Path) -> Path:
    repository = folder / "flights"
    shutil.copytree(FLIGHTS, repository)
    return repository


def materialize(server, view: str = "*") -> dict[str, dict]:
    """A map per view of what the run did."""
    runs = server.client(protocol=3, decode_responses=True).execute_command(
        "FS.MATERIALIZE", view, "WAIT"
    )
    assert all(run["state"] == "done" for run in runs), runs
    return {run["view"]: run for run in runs}


def last_lsn(server) -> int:
    return server.client().info("persistence")["log_last_lsn"]


def test_a_second_run_writes_no_cell(start_nowthen):
    server = start_nowthen("--clock-start", NOON, repository=FLIGHTS)
    first = materialize(server)
    assert sorted(first) == sorted(VIEWS)
    assert first["airport_weather"]["entities_written"] == len(AIRPORTS)
    before = last_lsn(server)
    second = materialize(server)
    assert [run["entities_written"] for run in second.values()] == [0, 0, 0]
    # One record per run, that it ended; none of cells.
    assert last_lsn(server) == before + len(VIEWS)


def test_rows_that_are_ahead_of_the_clock_stay_where_they_are(start_nowthen):
    server = start_nowthen("--clock-start", NOON, repository=FLIGHTS)
    run = materialize(server, "airport_weather")["airport_weather"]
    query = f"SELECT count(*) FROM '{DATA}/weather.parquet' WHERE time_hour > '{NOON}'"
    assert run["rows_ahead"] == in_duckdb(query).fetchall()[0][0]
    assert run["rows_read"] >= len(AIRPORTS)


def test_late_files_are_picked_up(start_nowthen, tmp_path):
    """Landings in two files; the second arrives later, and has older events as well as newer."""
    repository = copy_of_flights(tmp_path)
    landings = pq.read_table(DATA / "landings.parquet")
    folder = repository / "data" / "landings"
    folder.mkdir()
    (repository / "data" / "landings.parquet").unlink()
    definitions = repository / "features.toml"
    text = definitions.read_text().replace("data/landings.parquet", "data/landings/*.parquet")
    definitions.write_text(text)
    pq.write_table(landings.take(list(range(0, len(landings), 2))), folder / "a.parquet")

    server = start_nowthen("--clock-start", NOON, repository=repository)
    whole = start_nowthen("--clock-start", NOON, repository=FLIGHTS)
    expected = materialize(whole, "plane_landings")["plane_landings"]
    half = materialize(server, "plane_landings")["plane_landings"]
    assert half["entities_written"] < expected["entities_written"]

    pq.write_table(landings.take(list(range(1, len(landings), 2))), folder / "b.parquet")
    both = materialize(server, "plane_landings")["plane_landings"]
    assert both["files"] == 2 and 0 < both["entities_written"]
    assert both["entities_written"] + both["entities_unchanged"] == expected["entities_written"]
    features = ["last_arr_delay", "last_dep_delay", "last_origin", "last_dest"]
    answers = [
        fs_get(each, features, "tailnum", planes_asked(), "WITHSTATUS", "WITHTIME")
        for each in (server, whole)
    ]
    assert answers[0] == answers[1]


def test_a_changed_value_is_picked_up(start_nowthen, tmp_path):
    repository = copy_of_flights(tmp_path)
    server = start_nowthen("--clock-start", NOON, repository=repository)
    materialize(server, "plane_facts")
    assert fs_get(server, ["seats"], "tailnum", ["N10156"]) == [[55]]
    path = repository / "data" / "planes.parquet"
    planes = pq.read_table(path)
    seats = [56 if n == "N10156" else s for n, s in zip(*columns(planes, "tailnum", "seats"))]
    place = planes.column_names.index("seats")
    pq.write_table(planes.set_column(place, "seats", pa.array(seats, pa.int64())), path)
    run = materialize(server, "plane_facts")["plane_facts"]
    assert (run["entities_written"], run["entities_unchanged"]) == (1, len(planes) - 1)
    assert fs_get(server, ["seats"], "tailnum", ["N10156"]) == [[56]]


def columns(table: pa.Table, *names: str) -> list[list]:
    return [table[name].to_pylist() for name in names]


def test_a_window_bounds_what_is_materialized(start_nowthen):
    server = start_nowthen("--clock-start", NOON, repository=FLIGHTS)
    end = "2013-07-03T12:00:00Z"
    done = run_nowthen("materialize", "airport_weather", "--wait", "--to", end, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert "airport_weather" in done.stdout and "3 entities written" in done.stdout
    rows = fs_get(server, ["temp"], "origin", AIRPORTS, "WITHSTATUS")
    assert [row[0][1] for row in rows] == [b"OUTSIDE_MAX_AGE"] * 3
    done = run_nowthen("materialize", "--all", "--wait", "--url", server.url)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr
    rows = fs_get(server, ["temp"], "origin", AIRPORTS, "WITHSTATUS")
    assert [row[0][1] for row in rows] == [b"PRESENT"] * 3


def test_the_future_is_not_materialized(server):
    done = run_nowthen(
        "materialize", "plane_facts", "--wait", "--to", "2014-01-01T00:00:00Z", "--url", server.url
    )
    assert done.returncode == 1 and "server's clock" in done.stderr


def test_runs_are_listed_newest_first(server):
    runs = server.client(protocol=3, decode_responses=True).execute_command("FS.RUNS", "plane_facts")
    assert {run["view"] for run in runs} == {"plane_facts"}
    ids = [run["id"] for run in runs]
    assert ids == sorted(ids, reverse=True)
    assert runs[-1]["state"] == "done" and runs[-1]["entities_written"] == 3322
    assert runs[-1]["started"].startswith("2013-07-04T12:0")


# --- HTTP


def ask(server, body: object) -> tuple[int, dict]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, text = server.http("/get-online-features", raw)
    return status, json.loads(text)


def as_columns(reply: dict) -> dict[str, dict]:
    names = reply["metadata"]["feature_names"]
    return dict(zip(names, reply["results"], strict=True))


def test_feasts_json_gives_values_statuses_and_times(server):
    features = ["airport_weather:temp", "airport_weather:wind_gust"]
    status, reply = ask(server, {"features": features, "entities": {"origin": ["JFK", "ZZZ"]}})
    assert status == 200
    named = as_columns(reply)
    assert list(named) == ["origin", "temp", "wind_gust"]
    assert named["origin"]["values"] == ["JFK", "ZZZ"]
    assert named["temp"]["statuses"] == ["PRESENT", "NOT_FOUND"]
    assert named["wind_gust"]["statuses"] == ["NULL_VALUE", "NOT_FOUND"]
    assert named["wind_gust"]["values"] == [None, None]
    (expected,) = fs_get(server, ["temp"], "origin", ["JFK"], "WITHTIME")
    assert named["temp"]["values"] == [expected[0][0], None]
    assert named["temp"]["event_timestamps"][0].startswith("2013-07-04T12:00:00")
    assert expected[0][1] == 1_372_939_200_000_000


def test_feasts_json_knows_services_and_full_names(server):
    entities = {"origin": ["JFK", "LGA"], "tailnum": ["N228JB", "N14228"]}
    body = {"feature_service": "delay_model", "entities": entities, "full_feature_names": True}
    status, reply = ask(server, body)
    assert status == 200
    named = as_columns(reply)
    assert list(named)[:2] == ["origin", "tailnum"]
    assert list(named)[2:5] == [f"airport_weather__{n}" for n in ("temp", "wind_speed", "visib")]
    assert named["plane_facts__seats"]["values"] == [20, 149]
    assert all(len(column["values"]) == 2 for column in named.values())


REFUSED = {
    "not json": (b"{", "JSON"),
    "no entities": ({"features": ["airport_weather:temp"]}, "entities"),
    "no features": ({"entities": {"origin": ["JFK"]}}, "feature"),
    "unknown feature": ({"features": ["airport_weather:tmp"], "entities": {"origin": ["JFK"]}}, "temp"),
    "unknown view": ({"features": ["weather:temp"], "entities": {"origin": ["JFK"]}}, "weather"),
    "unknown service": ({"feature_service": "delay", "entities": {"origin": ["JFK"]}}, "delay"),
    "wrong join key": ({"features": ["airport_weather:temp"], "entities": {"dest": ["JFK"]}}, "origin"),
    "uneven columns": (
        {"feature_service": "delay_model", "entities": {"origin": ["JFK"], "tailnum": []}},
        "tailnum",
    ),
    "not a list": ({"features": ["airport_weather:temp"], "entities": {"origin": "JFK"}}, "origin"),
    "a list within": ({"features": ["airport_weather:temp"], "entities": {"origin": [[1]]}}, "origin"),
}


@pytest.mark.parametrize(("body", "named"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_a_4xx_that_says_why(server, body, named):
    status, reply = ask(server, body)
    assert 400 <= status < 500
    assert sorted(reply) == ["detail", "error"]
    assert named in reply["detail"]


def test_an_unknown_path_and_method_are_4xx(server):
    assert server.http("/nonsense")[0] == 404
    assert server.http("/get-online-features")[0] == 405


def test_health_is_200(server):
    assert server.http("/health")[0] == 200


def test_metrics_parse_and_count(server):
    def samples() -> dict[str, float]:
        status, text = server.http("/metrics")
        assert status == 200
        return parse_metrics(text.decode())

    before = samples()
    for _ in range(7):
        server.client().hmget("airport:JFK", "temp", "nonsense")
    ask(server, {"features": ["airport_weather:temp"], "entities": {"origin": ["JFK"]}})
    ask(server, b"{")
    after = samples()
    grown = {name: after[name] - before[name] for name in before}
    hmget = '{command="hmget"}'
    assert grown["nowthen_command_duration_seconds_count" + hmget] == 7
    assert grown["nowthen_unknown_fields_total"] == 7
    assert grown["nowthen_http_errors_total"] == 1
    assert grown["nowthen_http_online_features_duration_seconds_count"] == 2
    assert after["nowthen_keys"] > 3000


def parse_metrics(text: str) -> dict[str, float]:
    """The text format of Prometheus: every sample has its TYPE, every bucket holds the one before."""
    typed, found, buckets = {}, {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed
            typed[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in found
            found[name] = float(value)
            family = name.split("{")[0]
            if family not in typed:
                family, _, part = family.rpartition("_")
                assert part in ("bucket", "sum", "count") and typed[family] == "histogram"
                if part == "bucket":
                    labels = name.split("{")[1].split("le=")[0]
                    buckets.setdefault((family, labels), []).append(float(value))
    assert all(counts == sorted(counts) for counts in buckets.values())
    return found
