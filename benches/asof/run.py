"""The point-in-time join and the newest row per entity, beside DuckDB, Polars and chDB.

    python benches/asof/run.py [--generator GEN.PY] [--only NAME,...] [--rounds 3] [--markdown FILE]
    python benches/asof/run.py --quick      a small history, DuckDB and us only, with assertions:
                                            part of ./check

Every job runs in a process of its own with two threads, from Parquet files to columns of Arrow in
memory; in each round all take their turn. Reported are medians. `nowthen asof` also writes the
result to a file: that stands outside of its seconds, and inside of its CPU and memory. Each answer
is compared with DuckDB's, exactly. Peers: `pip install duckdb polars pyarrow numpy chdb`; one that
is not there is left out. The data (3 GB) stay in --data.

Without --generator the data come from generate.py beside this. Another generator is called with the
folder and the sets `spines` and A (ten million rows), V (ten views) or B (a hundred million), as
far as the cases ask for them, and must leave them under the same names.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KEYS = ("entity_id", "event_timestamp", "created_timestamp")
TTL_HOURS = 48
THREADS = 2
PEERS = ["duckdb", "polars", "polars-streaming", "chdb"]
LATEST_PEERS = ["duckdb", "duckdb-row", "polars", "polars-streaming"]
TYPES = {"double": "float64", "int64": "int64", "string": "string", "large_string": "string"}


@dataclass
class Case:
    title: str
    views: list[str]
    spine: str | None

    @property
    def dataset(self) -> str:
        return self.views[0][0]


TEN_VIEWS = [f"V{number}_day" for number in range(10)]
CASES = {
    "day-10k": Case("daily files, spine 10 k", ["A_day"], "A_10k"),
    "day-1m": Case("daily files, spine 1 M", ["A_day"], "A_1m"),
    "day-5m": Case("daily files, spine 5 M", ["A_day"], "A_5m"),
    "sorted-10k": Case("sorted by (entity, time), spine 10 k", ["A_es"], "A_10k"),
    "unsorted-1m": Case("unsorted, spine 1 M", ["A_uns"], "A_1m"),
    "text-1m": Case("text keys, daily, spine 1 M", ["A_day_str"], "A_1m_str"),
    "latest": Case("newest row per entity", ["A_day"], None),
    "ten-views": Case("ten views of 4 M rows, spine 1 M", TEN_VIEWS, "A_1m"),
    "hundred-day": Case("100 M rows × 5, daily, spine 1 M", ["B_day"], "B_1m"),
    "hundred-sorted": Case("100 M rows × 5, sorted, spine 1 M", ["B_es"], "B_1m"),
    "hundred-latest": Case("newest row per entity of 100 M × 5", ["B_day"], None),
}
QUICK = {
    "day": Case("daily files", ["A_day"], "A_10k"),
    "sorted": Case("sorted by (entity, time)", ["A_es"], "A_10k"),
    "unsorted": Case("unsorted", ["A_uns"], "A_10k"),
    "text": Case("text keys, daily", ["A_day_str"], "A_10k_str"),
    "latest": Case("newest row per entity", ["A_day"], None),
}
# How ./check builds: not again for a glance.
ASSERTING = ["--config", "tests/asserting.toml", "--features", "nowthen/planted-bugs"]
FIRST_CASES = ",".join(name for name, case in CASES.items() if case.dataset == "A")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "asof")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--only", default=FIRST_CASES, help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", help="those to run, with commas; all that are installed")
    parser.add_argument("--markdown", type=Path, help="where the table goes, too")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    unknown = [name for name in asked.only.split(",") if name not in CASES]
    if unknown:
        parser.error(f"--only: no case {', '.join(unknown)}; expected some of {', '.join(CASES)}")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary, bench = build(target, ASSERTING if asked.quick else [])
    if asked.quick:
        with tempfile.TemporaryDirectory() as folder:
            small = ["--rows", "200000", "--entities", "5000", "--spine", "10000"]
            python(HERE / "generate.py", folder, *small)
            table = run(QUICK, Bench(Path(folder), binary, bench, 1), ["duckdb"])
    else:
        cases = {name: CASES[name] for name in asked.only.split(",")}
        generate(asked.generator, asked.data, cases)
        bench = Bench(asked.data, binary, bench, asked.rounds)
        table = run(cases, bench, asked.peers.split(",") if asked.peers else installed())
    print(table)
    if asked.markdown:
        asked.markdown.write_text(table + "\n")


def build(target: Path, options: list[str]) -> tuple[Path, Path]:
    """The server, and the program for jobs that no command of it does alone."""
    command = ["cargo", "bench", "--workspace", "--locked", "--quiet", "--no-run", *options]
    command += ["--bench", "asof", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    programs = [m["executable"] for m in messages if m.get("target", {}).get("name") == "asof"]
    return target / "release" / "nowthen", Path(programs[-1])


def installed() -> list[str]:
    return [peer for peer in PEERS if importlib.util.find_spec(peer.split("-")[0])]


def generate(generator: Path | None, folder: Path, cases: dict[str, Case]) -> None:
    needed = [view for case in cases.values() for view in case.views]
    if all((folder / view).is_dir() for view in needed):
        return
    if generator:
        sets = sorted({case.dataset for case in cases.values()})
        python(generator, folder, "spines", *sets)
    else:
        python(HERE / "generate.py", folder)


def python(*command: object) -> str:
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass
class Bench:
    data: Path
    binary: Path
    program: Path
    rounds: int

    def peer(self, engine: str, case: Case, save: Path | None) -> dict:
        sources = ",".join(str(self.data / view / "*.parquet") for view in case.views)
        job = "asof" if case.spine else "latest"
        options = ["--ttl", TTL_HOURS, "--threads", THREADS, *(["--save", save] if save else [])]
        return json.loads(
            python(HERE / "peer.py", engine, job, sources, self.spine(case), *options)
        )

    def spine(self, case: Case) -> Path:
        return self.data / f"spine_{case.spine}.parquet"

    def ours(self, case: Case, out: Path) -> dict:
        """Seconds without writing, CPU and memory with all that the process did."""
        with tempfile.TemporaryDirectory() as repository:
            Path(repository, "features.toml").write_text(self.definitions(case))
            if case.spine:
                views = ",".join(f"{view.lower()}:*" for view in case.views)
                options = ["--spine", self.spine(case), "--features", views, "--out", out]
                options += ["--repo", repository, "--threads", THREADS, "--json", "--explain"]
                report = self.measured(self.binary, "asof", *options)
                report["seconds"] -= report["phases"]["write"]
                return report
            view = case.views[0].lower()
            return self.measured(self.program, "latest", repository, view, "--rows", out)

    def definitions(self, case: Case) -> str:
        kinds = set()
        views = ""
        for view in case.views:
            schema = pq.read_schema(min((self.data / view).glob("*.parquet")))
            kinds.add(TYPES[str(schema.field("entity_id").type)])
            features = [field for field in schema if field.name not in KEYS]
            features = [f'{field.name} = "{TYPES[str(field.type)]}"' for field in features]
            views += f"""
                [view.{view.lower()}]
                entity = "user"
                source = "{self.data / view}"
                event_timestamp = "event_timestamp"
                created_timestamp = "created_timestamp"
                ttl = "{TTL_HOURS}h"
                features = {{ {", ".join(features)} }}
            """
        (kind,) = kinds
        return f'[entity.user]\njoin_keys = {{ entity_id = "{kind}" }}\n{views}'

    def decode(self, case: Case) -> dict:
        """All columns that the answer needs, of all rows: what a reader without a join pays."""
        total = {"seconds": 0.0, "cpu": 0.0, "rows": 0}
        for view in case.views:
            schema = pq.read_schema(min((self.data / view).glob("*.parquet")))
            done = self.measured(self.program, "decode", self.data / view, ",".join(schema.names))
            total = {name: total[name] + done[name] for name in total}
        return total

    def measured(self, *command: object) -> dict:
        return json.loads(python(HERE / "measure.py", *command))


def run(cases: dict[str, Case], bench: Bench, peers: list[str]) -> str:
    lines = [
        "| work | best peer | nowthen | times faster | least CPU of a peer | ours | times less "
        "| leanest peer | ours | share of memory | plain decoding | rows decoded/s | its CPU |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case in cases.values():
        figures = in_turns(bench, case, suited(peers, case))
        lines.append(row(case, figures))
        for name, figure in figures.items():
            print(f"{case.title}: {name}: {told(figure)}", file=sys.stderr)
    return "\n".join(lines)


def suited(peers: list[str], case: Case) -> list[str]:
    if case.spine:
        return peers
    libraries = {peer.split("-")[0] for peer in peers}
    return [peer for peer in LATEST_PEERS if peer.split("-")[0] in libraries]


def in_turns(bench: Bench, case: Case, peers: list[str]) -> dict[str, dict]:
    runs: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory(dir=bench.data) as folder:
        expected, got = Path(folder, "expected.parquet"), Path(folder, "got.arrow")
        for turn in range(bench.rounds):
            for peer in peers:
                save = expected if turn == 0 and peer == "duckdb" else None
                runs.setdefault(peer, []).append(bench.peer(peer, case, save))
            runs.setdefault("nowthen", []).append(bench.ours(case, got))
            runs.setdefault("decode", []).append(bench.decode(case))
        if "duckdb" in peers:
            compare(case, expected, got)
    return {name: medians(turns) for name, turns in runs.items()}


def medians(turns: list[dict]) -> dict:
    names = [name for name in ("seconds", "cpu", "peak_mb", "rows") if name in turns[0]]
    figure = {name: statistics.median(turn[name] for turn in turns) for name in names}
    if "phases" in turns[0]:
        phases = turns[0]["phases"]
        figure["phases"] = {
            phase: statistics.median(turn["phases"][phase] for turn in turns) for phase in phases
        }
    return figure


def row(case: Case, figures: dict[str, dict]) -> str:
    ours, decode = figures["nowthen"], figures["decode"]
    peers = {name: f for name, f in figures.items() if name not in ("nowthen", "decode")}
    best, thrifty, leanest = (
        min(peers, key=lambda name: peers[name][figure]) for figure in ("seconds", "cpu", "peak_mb")
    )
    return (
        f"| {case.title} | {best} {peers[best]['seconds']:.2f} s | {ours['seconds']:.2f} s "
        f"| {peers[best]['seconds'] / ours['seconds']:.1f} "
        f"| {thrifty} {peers[thrifty]['cpu']:.2f} s | {ours['cpu']:.2f} s "
        f"| {peers[thrifty]['cpu'] / ours['cpu']:.1f} "
        f"| {leanest} {peers[leanest]['peak_mb']:.0f} MB | {ours['peak_mb']:.0f} MB "
        f"| 1/{peers[leanest]['peak_mb'] / ours['peak_mb']:.1f} | {decode['seconds']:.2f} s "
        f"| {decode['rows'] / decode['seconds']:,.0f} | {decode['cpu']:.2f} s |"
    )


def told(figure: dict) -> str:
    phases = figure.get("phases", {})
    phases = ", ".join(f"{name} {seconds:.3f}" for name, seconds in phases.items())
    memory = f", {figure['peak_mb']:.0f} MB" if "peak_mb" in figure else ""
    text = f"{figure['seconds']:.3f} s, {figure['cpu']:.2f} s of CPU{memory}"
    return f"{text} ({phases})" if phases else text


def compare(case: Case, expected: Path, got: Path) -> None:
    """Exactly: each value, each null, each row."""
    theirs = pq.read_table(expected)
    if case.spine:
        with pyarrow.ipc.open_file(got) as file:
            ours, order = file.read_all(), "row_id"
    else:
        order = "entity_id"
        lines = [json.loads(line) for line in got.read_text().splitlines()]
        columns = dict(zip(theirs.column_names, zip(*lines, strict=True), strict=True))
        ours = pa.table({name: pa.array(values) for name, values in columns.items()})
    ours, theirs = (plain(table.sort_by(order)) for table in (ours, theirs))
    if ours.num_rows != theirs.num_rows:
        raise SystemExit(f"{case.title}: {ours.num_rows} rows, DuckDB has {theirs.num_rows}")
    for name in theirs.column_names:
        if not ours[name].equals(theirs[name]):
            raise SystemExit(f"{case.title}: {name} differs from DuckDB's")


def plain(table: pa.Table) -> pa.Table:
    def column(values: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_timestamp(values.type):
            return pc.cast(pc.cast(values, pa.timestamp("us", values.type.tz)), pa.int64())
        if pa.types.is_dictionary(values.type) or pa.types.is_large_string(values.type):
            return pc.cast(values, pa.string())
        return values

    columns = {name: column(table[name]) for name in table.column_names}
    return pa.table(columns)


if __name__ == "__main__":
    main()
