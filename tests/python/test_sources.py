"""Sources of many files: values that folders tell, and files whose columns differ.

The judge is DuckDB, reading the same files with `hive_partitioning` and `union_by_name`: of rows
with one key and one event timestamp the last in the order of files and rows wins, and files are in
the order of their paths, folder by folder.

Invariants
- Every source has rows whose folders no row of the spine can mean, columns that came later, and
  numbers that were narrower once.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run_nowthen

CITIES = ["Oslo", "São Paulo", "50% off/=", ""]
ZONES = [-1, 7, 300, 2**40]
DEFAULT = "__HIVE_DEFAULT_PARTITION__"
FIRST = dt.datetime(2024, 1, 30, tzinfo=dt.UTC)
DEFINITIONS = """
[entity.trip]
join_keys = {{ city = "string", zone = "int64" }}
[view.demand]
entity = "trip"
source = "{source}"
event_timestamp = "at"
features = {{ rides = "int64", price = "float64", label = "string", day_type = "string", fast = "bool" }}
"""
FEATURES = ["rides", "price", "label", "day_type", "fast"]
# What folders tell, outermost first, in several layouts of one and the same history.
LAYOUTS = {
    "time_first": ["at", "city", "zone", "day_type"],
    "keys_first": ["zone", "city", "fast", "at"],
    "features": ["label", "rides", "price"],
    "none": [],
    "one_key": ["city"],
}


def folder(name: str, value: object) -> str:
    """As Hive and Spark write it."""
    if value is None:
        return f"{name}={DEFAULT}"
    if isinstance(value, dt.datetime):
        value = value.strftime("%Y-%m-%d" if value.hour == 0 else "%Y-%m-%d %H:%M:%S")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name}={quote(text, safe=' +-:.')}"


def random_rows(seed: int, count: int) -> list[dict]:
    dice = random.Random(seed)

    def maybe(value):
        return None if dice.random() < 0.1 else value

    def row():
        return {
            "city": maybe(dice.choice(CITIES)),
            "zone": maybe(dice.choice(ZONES)),
            "at": maybe(FIRST + dt.timedelta(hours=6 * dice.randrange(16))),
            "rides": maybe(dice.randrange(-100, 100)),
            "price": maybe(dice.randrange(-40, 40) / 8),
            "label": maybe(dice.choice(["", "x", "ü ö", "a/b=c%"])),
            "day_type": maybe(dice.choice(["work", "rest", "007"])),
            "fast": maybe(dice.random() < 0.5),
        }

    return [row() for _ in range(count)]


def write_source(root: Path, folders: list[str], rows: list[dict], seed: int) -> None:
    """Several files a folder. An early file has fewer columns, and narrower ones; some files have
    columns of their own of what their folders tell, which is wrong."""
    dice = random.Random(seed)
    by_folder: dict[Path, list[dict]] = {}
    for row in rows:
        path = root.joinpath(*(folder(name, row[name]) for name in folders))
        by_folder.setdefault(path, []).append(row)
    for path, own in by_folder.items():
        path.mkdir(parents=True)
        half = len(own) // 2
        for number, part in enumerate([own[:half], own[half:]]):
            write_part(path / f"part-{number}.parquet", folders, part, dice)


def write_part(path: Path, folders: list[str], rows: list[dict], dice: random.Random) -> None:
    early, both = path.name == "part-0.parquet", dice.random() < 0.3
    schema = {
        "city": pa.dictionary(pa.int32(), pa.string()) if early else pa.string(),
        "zone": pa.int64(),
        "at": pa.timestamp(dice.choice(["s", "ms", "us"]), "UTC"),
        "rides": pa.int8() if early else dice.choice([pa.int16(), pa.int32(), pa.int64()]),
        "price": pa.float32() if early else pa.float64(),
        "label": pa.string(),
        "day_type": pa.string(),
        "fast": pa.bool_(),
    }
    if early:
        del schema["label"]
        for row in rows:
            row["label"] = None if "label" not in folders else row["label"]
    columns = {}
    for name, kind in schema.items():
        if name in folders and not both:
            continue
        values = [row[name] for row in rows]
        if name in folders:
            # What the file says of it is not so.
            values = list(reversed(values)) if dice.random() < 0.5 else [None] * len(values)
        columns[name] = pa.array(values, kind)
    names = list(columns)
    dice.shuffle(names)
    columns["row"] = pa.array(range(len(rows)), pa.int64())
    pq.write_table(pa.table({name: columns[name] for name in [*names, "row"]}), path)


def write_spine(path: Path, seed: int, cities: list[str], zones: list[int]) -> None:
    dice = random.Random(seed)
    rows = 200
    pq.write_table(
        pa.table(
            {
                "nth": pa.array(range(rows), pa.int64()),
                "city": pa.array([dice.choice([*cities, "nowhere", None]) for _ in range(rows)]),
                "zone": pa.array([dice.choice([*zones, 5]) for _ in range(rows)], pa.int64()),
                "asked": pa.array(
                    [FIRST + dt.timedelta(hours=dice.randrange(-10, 60)) for _ in range(rows)],
                    pa.timestamp("us", "UTC"),
                ),
            }
        ),
        path,
    )


def in_duckdb(query: str) -> pa.Table:
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    return connection.sql(query).to_arrow_table()


def history(root: Path, folders: list[str]) -> str:
    """The source as DuckDB reads it."""
    kinds = {
        "city": "VARCHAR", "zone": "BIGINT", "at": "TIMESTAMPTZ", "rides": "BIGINT",
        "price": "DOUBLE", "label": "VARCHAR", "day_type": "VARCHAR", "fast": "BOOLEAN",
    }  # fmt: skip
    options = "union_by_name = true, filename = true"
    if folders:
        hive = ", ".join(f"'{name}': {kinds[name]}" for name in folders)
        options += f", hive_partitioning = true, hive_types = {{{hive}}}"
    else:
        options += ", hive_partitioning = false"
    columns = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in kinds.items())
    source = f"read_parquet('{root}/**/*.parquet', {options})"
    return f"(SELECT {columns}, replace(filename, '/', chr(1)) AS file, row FROM {source})"


def joined_by_duckdb(root: Path, folders: list[str], spine: Path) -> pa.Table:
    features = ", ".join(FEATURES)
    return in_duckdb(f"""
        WITH found AS (
            SELECT nth, {features}
            FROM '{spine}' AS spine JOIN {history(root, folders)} AS history
                ON spine.city = history.city AND spine.zone = history.zone AND "at" <= asked
            QUALIFY row_number() OVER (
                PARTITION BY nth ORDER BY "at" DESC, file DESC, row DESC) = 1
        )
        SELECT nth, city, zone, asked, {features}
        FROM '{spine}' AS spine LEFT JOIN found USING (nth) ORDER BY nth""")


def repository(tmp_path: Path, source: Path | str) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir(exist_ok=True)
    (folder / "features.toml").write_text(DEFINITIONS.format(source=source))
    return folder


def asof(tmp_path: Path, source: Path | str, spine: Path, *options: str):
    out = tmp_path / "set.parquet"
    done = run_nowthen(
        "asof", "--repo", repository(tmp_path, source), "--spine", spine, "--out", out,
        "--event-timestamp", "asked",
        "--features", ",".join(f"demand:{name}" for name in FEATURES), *options,
    )  # fmt: skip
    return done, out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(2))
def test_a_training_set_over_folders_and_drift_equals_that_of_duckdb(tmp_path, layout, seed):
    folders, root, spine = LAYOUTS[layout], tmp_path / "source", tmp_path / "spine.parquet"
    write_source(root, folders, random_rows(seed, 300), seed)
    write_spine(spine, seed, CITIES[:3], ZONES[1:])
    done, out = asof(tmp_path, root, spine, "--json", "--explain")
    assert done.returncode == 0, done.stderr
    ours, theirs = pq.read_table(out), joined_by_duckdb(root, folders, spine)
    assert ours.column_names == theirs.column_names
    for name in ours.column_names:
        assert ours[name].to_pylist() == theirs[name].to_pylist(), name
    present = [len(ours) - ours[name].null_count for name in FEATURES]
    assert all(count > 10 for count in present), present
    told = json.loads(done.stdout)
    files = sorted(root.rglob("*.parquet"))
    assert told["files"] == len(files)
    assert told["files_skipped"] == sum(is_out_of_reach(file, root, spine) for file in files)
    assert (told["files_skipped"] > 0) == bool({"at", "city", "zone"} & set(folders))

    # A pattern finds the same files, and a bound on memory changes nothing.
    again, out = asof(tmp_path, f"{root}/**/*.parquet", spine, "--memory", "4KiB")
    assert again.returncode == 0, again.stderr
    assert pq.read_table(out).equals(ours)


def is_out_of_reach(file: Path, root: Path, spine: Path) -> bool:
    """Whether by its folders no row of the spine can see a row of the file."""
    asked = pq.read_table(spine).to_pylist()
    last = max(row["asked"] for row in asked if row["city"] is not None)
    told = dict(part.split("=", 1) for part in file.relative_to(root).parts[:-1])
    if any(told.get(name) == DEFAULT for name in ("at", "city", "zone")):
        return True
    if "at" in told:
        at = dt.datetime.fromisoformat(told["at"]).replace(tzinfo=dt.UTC)
        if at > last:
            return True
    keys = [name for name in ("city", "zone") if name in told]
    means = [tuple(folder(name, row[name]).split("=", 1)[1] for name in keys) for row in asked]
    if len(keys) == 2:
        means = [own for own, row in zip(means, asked, strict=True) if row["city"] is not None]
    return tuple(told[name] for name in keys) not in means


def test_materialized_rows_over_folders_are_the_newest_of_duckdb(tmp_path, start_nowthen):
    folders, root = LAYOUTS["time_first"], tmp_path / "source"
    write_source(root, folders, random_rows(9, 400), 9)
    until = FIRST + dt.timedelta(hours=50)
    server = start_nowthen(definitions=DEFINITIONS.format(source=root))
    client = server.client(protocol=3, decode_responses=True)
    client.execute_command("FS.MATERIALIZE", "demand", "TO", until.isoformat(), "WAIT")
    newest = in_duckdb(f"""
        SELECT * FROM {history(root, folders)}
        WHERE city IS NOT NULL AND zone IS NOT NULL AND "at" <= '{until.isoformat()}'
        QUALIFY row_number() OVER (
            PARTITION BY city, zone ORDER BY "at" DESC, file DESC, row DESC) = 1""").to_pylist()
    assert len(newest) == len(CITIES) * len(ZONES)
    for row in newest:
        city = row["city"].replace("%", "%25").replace(":", "%3A")
        told = client.hmget(f"trip:{city}:{row['zone']}", FEATURES)
        assert read(told) == [row[name] for name in FEATURES], row

    # What lay ahead is found by a later run; then the same files hold nothing new.
    def run():
        (told,) = client.execute_command("FS.MATERIALIZE", "demand", "WAIT")
        return [told[name] for name in ("state", "rows_total", "rows_read", "rows_ahead")]

    rows = sum(pq.read_metadata(file).num_rows for file in root.rglob("*.parquet"))
    told = [part for part in root.rglob("*.parquet") if DEFAULT not in path_of_key(part, root)]
    reachable = sum(pq.read_metadata(file).num_rows for file in told)
    assert run() == ["done", reachable, reachable, 0] and reachable < rows
    assert run() == ["done", reachable, 0, 0]


def path_of_key(file: Path, root: Path) -> str:
    return "/".join(file.relative_to(root).parts[:3])


def read(told: list[str | None]) -> list:
    rides, price, label, day_type, fast = told
    return [
        None if rides is None else int(rides),
        None if price is None else float(price),
        label,
        day_type,
        None if fast is None else fast == "true",
    ]


def test_what_does_not_widen_is_refused_by_file_and_column_with_both_types(tmp_path):
    root, spine = tmp_path / "source", tmp_path / "spine.parquet"
    write_spine(spine, 0, CITIES, ZONES)
    whole = {
        "city": ["Oslo"], "zone": [7], "at": [FIRST], "rides": [1], "price": [0.5], "label": ["x"],
        "day_type": ["work"], "fast": [True],
    }  # fmt: skip
    for number, (column, values, why) in enumerate(
        [
            ("rides", [1.5], "column 'rides' (feature of view demand) holds Float64, expected int64"),
            ("price", [2**40], "'price' (feature of view demand) holds Int64, expected float64"),
            ("label", [b"x"], "'label' (feature of view demand) holds Binary, expected string"),
            ("zone", ["7"], "'zone' (join key of view demand) holds Utf8, expected int64"),
            ("at", [1], "'at' (event timestamp of view demand) holds Int64, expected timestamp"),
            ("city", None, "no column 'city' (join key of view demand, string)"),
            ("at", None, "no column 'at' (event timestamp of view demand, timestamp)"),
        ]
    ):
        own = root / str(number)
        (own / "day=2").mkdir(parents=True)
        (own / "day=1").mkdir()
        pq.write_table(pa.table(whole), own / "day=1" / "good.parquet")
        columns = {**whole, column: values}
        columns = {name: values for name, values in columns.items() if values is not None}
        pq.write_table(pa.table(columns), own / "day=2" / "bad.parquet")
        done, _ = asof(tmp_path, own, spine)
        assert done.returncode == 1, done.stdout
        assert f"{own}/day=2/bad.parquet: " in done.stderr and why in done.stderr, done.stderr


def test_dates_and_times_in_folders_are_those_that_duckdb_reads(tmp_path):
    """In each of these forms DuckDB reads the instant that we read; what we refuse we name."""
    spine = tmp_path / "spine.parquet"
    texts = [
        "2024-01-31", "2024-1-31", "2024-01-31 06:30:00", "2024-01-31T06:30", "2024-01-31T06:30:00Z",
        "2024-01-31 06%3A30%3A00.25", "2024-01-31 06:30:00.123456", "2024-01-31 06:30:00+02",
        "2024-01-31 06:30:00-02:30", "2024-01-31 6:3:1", "1969-12-31 23:59:59.999999",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        root = tmp_path / f"source_{number}"
        own = root / f"at={text}"
        own.mkdir(parents=True)
        rows = {"city": ["Oslo"], "zone": [7], "rides": [1], "price": [0.5], "label": ["x"]}
        pq.write_table(pa.table({**rows, "day_type": ["w"], "fast": [True]}), own / "f.parquet")
        (at,) = in_duckdb(
            f"SELECT epoch_us(\"at\") AS us FROM read_parquet('{root}/*/*.parquet', "
            "hive_partitioning = true, hive_types = {'at': TIMESTAMPTZ})"
        )["us"].to_pylist()
        times = pa.array([at - 1, at], pa.timestamp("us", "UTC"))
        pq.write_table(
            pa.table({"city": ["Oslo"] * 2, "zone": [7] * 2, "asked": times}), spine
        )
        done, out = asof(tmp_path, root, spine)
        assert done.returncode == 0, done.stderr
        assert pq.read_table(out)["rides"].to_pylist() == [None, 1], text
    for text in ["20240131", "2024", "1706659200000000", "2024-13-01", "yesterday"]:
        root = tmp_path / f"refused_{text}"
        (root / f"at={text}").mkdir(parents=True)
        pq.write_table(pa.table({"city": ["Oslo"]}), root / f"at={text}" / "f.parquet")
        done, _ = asof(tmp_path, root, spine)
        assert done.returncode == 1, done.stdout
        assert f"folder 'at={text}': '{text}' is no timestamp: expected a date" in done.stderr
