"""`nowthen demo`: it prints three commands, and each works when it is pasted."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import redis
from conftest import BINARY, ROOT, free_ports

START_SECONDS_MAX = 30
CARGO = "cargo run --release -- "


class Demo:
    """The process, what it printed until it was ready, and its port."""

    def __init__(self, folder: Path):
        self.port, http_port = free_ports(2)
        options = ["--data", str(folder / "data"), "--port", str(self.port)]
        options += ["--http-port", str(http_port)]
        self.printed = folder / "printed"
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [str(BINARY), "demo", *options], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def wait(self) -> str:
        """What it printed; it answers now."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if redis.Redis(port=self.port, socket_connect_timeout=1).ping():
                    return self.printed.read_text()
            except redis.ConnectionError:
                time.sleep(0.05)
        raise AssertionError(f"the demo does not answer:\n{self.printed.read_text()}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        demo.text = demo.wait()
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()


def printed_commands(text: str) -> list[str]:
    """The indented blocks behind "Try"; a command may go on over several lines."""
    _, _, behind = text.partition("\nTry")
    blocks = behind.split("\n\n")
    return [block.strip() for block in blocks if re.match(r"\n?  \S", block)]


def paste(command: str, folder: Path) -> str:
    """Runs a printed command with the shell, in the project, its output file elsewhere."""
    command = command.replace(CARGO, f"{BINARY} ").replace("training.parquet", str(folder / "t.parquet"))
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def command_of(demo: Demo, start: str) -> str:
    (command,) = [c for c in printed_commands(demo.text) if c.startswith(start)]
    return command


def test_it_applies_materializes_and_tells_of_its_clock(demo):
    assert "1. apply the definitions in examples/flights" in demo.text
    for view in ("airport_weather", "plane_landings", "plane_facts"):
        assert re.search(rf"{view}: \d+ rows read, [1-9]\d* entities written", demo.text)
    assert "2013-07-04T12:00:0" in demo.text


def test_it_prints_three_commands(demo):
    starts = [command.split()[0] for command in printed_commands(demo.text)]
    assert starts == ["redis-cli", "curl", "cargo"]


def test_the_redis_command_shows_the_weather_at_jfk(demo, tmp_path):
    values = [float(line) for line in paste(command_of(demo, "redis-cli"), tmp_path).split()]
    assert len(values) == 3 and 60 < values[0] < 100 and 0 <= values[1] < 50 and 0 < values[2] <= 10


def test_the_curl_command_shows_features_of_two_flights(demo, tmp_path):
    reply = json.loads(paste(command_of(demo, "curl"), tmp_path))
    named = dict(zip(reply["metadata"]["feature_names"], reply["results"], strict=True))
    assert named["origin"]["values"] == ["JFK", "LGA"]
    assert len(named) == 9
    for name, column in named.items():
        assert column["statuses"] == ["PRESENT"] * 2, name
        assert None not in column["values"], name


def test_the_third_command_writes_a_training_set(demo, tmp_path):
    output = paste(command_of(demo, CARGO.strip()), tmp_path)
    assert "336776 rows" in output
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.num_rows == 336_776
    assert len(table) - table["temp"].null_count == 335_983


def test_a_second_demo_on_the_same_port_says_that_it_is_in_use(demo, tmp_path):
    options = ["--data", str(tmp_path / "data"), "--port", str(demo.port), "--http-port", "0"]
    done = subprocess.run([str(BINARY), "demo", *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and f"port {demo.port}" in done.stderr


def test_outside_the_project_it_says_where_to_run_it(tmp_path):
    done = subprocess.run([str(BINARY), "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "--repo examples/flights" in done.stderr
