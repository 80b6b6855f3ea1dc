"""`nowthen bench` against nowthen and Redis: that it counts, times and refuses as it says.

The machine may be busy: how late the generator itself may be is no matter here (--late-max), but
in the test about that.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
import xml.etree.ElementTree
from pathlib import Path

import pytest
from conftest import BINARY, Nowthen, Server, run_nowthen

RATE, SECONDS = 500, 2
SMALL = {
    "--entities": "300",
    "--features": "8",
    "--warmup": "200ms",
    "--duration": f"{SECONDS}s",
    "--clients": "10",
    "--rate": str(RATE),
    "--late-max": "1m",
}
FIGURES = ["p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us"]


@pytest.fixture(params=["nowthen", "redis"])
def server(request, start_nowthen, redis_server) -> Server:
    """Each of both, filled with what a run reads."""
    if request.param == "redis":
        return redis_server
    return start_nowthen("--durability", "never", "--save", "", "--segment-bytes", "1048576")


def url_of(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def words(server: Server, *arguments: str | Path) -> list[str]:
    """What a small run takes, but for what is said otherwise."""
    small = [(name, value) for name, value in SMALL.items() if name not in arguments]
    return ["bench", "--url", url_of(server), *sum(small, ()), *map(str, arguments)]


def bench(server: Server, *arguments: str | Path, code: int = 0) -> dict:
    """One run: the object it prints."""
    ended = run_nowthen(*words(server, "--json", *arguments))
    assert ended.returncode == code, ended.stderr
    return json.loads(ended.stdout)


def begin(server: Server) -> subprocess.Popen[str]:
    """A run on what is there, which has just begun to send: its warm-up lasts 200 ms."""
    client = server.client()
    before = client.info("clients")["connected_clients"]
    command = [str(BINARY), *words(server, "--no-load", "--json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # One for what is not timed, and ten.
    while client.info("clients")["connected_clients"] < before + 11:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return process


def check_figures(told: dict) -> None:
    """Percentiles never fall, and are times."""
    figures = [told[name] for name in FIGURES]
    assert figures == sorted(figures) and 1 < figures[0] < 60e6
    assert figures[0] / 50 < told["mean_us"] <= figures[-1]


def test_a_run_counts_and_times_every_request_that_was_due(server, tmp_path):
    picture = tmp_path / "latency.svg"
    server.client().config_resetstat()
    told = bench(server, "--mix", "read=90,write=10", "--keys", "zipf", "--picture", picture)
    assert told["server"]["name"] == ("nowthen" if isinstance(server, Nowthen) else "redis")
    assert told["server"]["process_id"] == server.process.pid
    assert (told["requests"], told["answered"]) == (RATE * SECONDS, RATE * SECONDS)
    assert (told["failed"], told["unanswered"], told["errors"]) == (0, 0, {})
    assert (told["is_valid"], told["problems"]) == (True, [])
    assert told["requests_per_second"] == pytest.approx(RATE, rel=0.1)
    reads, writes = told["reads"], told["writes"]
    assert reads["count"] + writes["count"] == RATE * SECONDS
    assert 50 <= writes["count"] <= 150, "a tenth of a thousand"
    assert told["sent_late"]["count"] == RATE * SECONDS
    for latencies in (reads, writes):
        check_figures(latencies)
    cpu = told["server_cpu"]
    assert cpu["us_per_request"] == pytest.approx(
        cpu["user_us_per_request"] + cpu["system_us_per_request"], abs=0.01
    )
    assert 0 <= cpu["cores"] <= 4 and told["own_cpu_cores"] >= 0
    assert told["parameters"] == {
        "rate": RATE,
        "duration_s": SECONDS,
        "warmup_s": 0.2,
        "clients": 10,
        "threads": 1,
        "pipeline": 1,
        "mix": "read=90,write=10",
        "entities": 300,
        "features": 8,
        "fields": 8,
        "batch": 1,
        "read": "hmget",
        "keys": "zipf:0.99",
        "tier": "plain",
        "load": True,
        "seed": 1,
        "spin": False,
        "late_max_us": 60e6,
    }
    # The server counted the same: each entity written, a thousand compared before and after, and
    # what was due in 2.2 seconds.
    counted = server.client().info("commandstats")
    calls = counted["cmdstat_hmget"]["calls"] + counted["cmdstat_hset"]["calls"]
    assert calls == 300 + 2 * 1000 + RATE * SECONDS + RATE // 5
    assert server.client().hlen("bench_plain8:1000299") == 8
    texts = [each.text for each in xml.etree.ElementTree.parse(picture).iter() if each.text]
    assert f"reads ({reads['count']})" in texts and "99.9 %" in texts


def test_a_server_that_stands_still_is_charged_for_all_it_kept_waiting(server):
    bench(server)
    process = begin(server)
    time.sleep(0.5)
    try:
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
    finally:
        server.process.send_signal(signal.SIGCONT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    told = json.loads(output)
    # A quarter of the requests were due in these 500 ms, and waited for 250 ms on average. Ten
    # clients that wait for replies would have told of ten slow requests in a thousand.
    reads = told["reads"]
    assert reads["count"] == RATE * SECONDS
    assert reads["p99_us"] >= 300_000 and reads["max_us"] >= 400_000
    assert reads["mean_us"] >= 0.25 * 250_000 * 0.6
    assert reads["p50_us"] < reads["p99_us"] / 3


def test_as_fast_as_it_can_is_faster_than_the_rate(server):
    more = ["--pipeline", "4", "--fields", "3", "--threads", "2", "--spin"]
    told = bench(server, "--rate", "max", *more)
    assert told["parameters"]["rate"] == "max"
    assert told["requests_per_second"] > 2 * RATE
    assert told["requests"] == told["answered"] == told["reads"]["count"]
    assert told["sent_late"]["count"] == 0 and told["sent_late"]["p50_us"] is None
    check_figures(told["reads"])


@pytest.mark.parametrize("read", ["hmget", "fs.get-values", "fs.get-vector"])
def test_registered_features_are_read_in_every_way(start_nowthen, read):
    server = start_nowthen("--durability", "never", "--save", "")
    options = ["--tier", "registered", "--read", read, "--batch", "5", "--fields", "3"]
    told = bench(server, *options, "--rate", "100", "--mix", "read=80,write=20")
    assert told["answered"] == 100 * SECONDS and told["is_valid"]
    assert told["reads"]["count"] > told["writes"]["count"] > 0
    assert server.client().execute_command("FS.DESCRIBE", "bench_typed8")
    # The same again finds the definitions as they are.
    assert bench(server, *options, "--rate", "100", "--seed", "2")["failed"] == 0


def test_the_same_seed_asks_for_the_same(start_nowthen):
    server = start_nowthen("--durability", "never", "--save", "")
    bench(server)
    calls = []
    for seed in ("5", "5", "6"):
        told = bench(server, "--no-load", "--mix", "read=50,write=50", "--seed", seed)
        calls.append((told["reads"]["count"], told["writes"]["count"]))
    assert calls[0] == calls[1] != calls[2]


def test_errors_are_told_by_their_text_and_end_with_1(redis_server):
    bench(redis_server)
    client = redis_server.client()
    for name in client.keys("bench_plain8:*"):
        client.delete(name)
        client.hset(name, mapping={"f0": 1})
    ended = run_nowthen(*words(redis_server, "--no-load"))
    assert ended.returncode == 1 and "--no-load" in ended.stderr and ended.stdout == ""

    # Half way, all keys become lists: reads fail, and so does the comparison behind the run.
    bench(redis_server)
    process = begin(redis_server)
    time.sleep(1)
    for name in client.keys("bench_plain8:*"):
        client.delete(name)
        client.rpush(name, "x")
    output, errors = process.communicate(timeout=60)
    client.flushall()
    assert process.returncode == 1, errors
    told = json.loads(output)
    (text,) = told["errors"]
    assert text.startswith("WRONGTYPE") and told["failed"] == told["errors"][text] > 0
    assert told["answered"] + told["failed"] == told["requests"] == RATE * SECONDS
    assert told["reads"]["count"] == told["answered"], "a failure is no latency"
    assert f"{told['failed']} of {told['requests']} requests failed" in errors


def test_a_generator_that_is_late_says_so_and_ends_with_1(redis_server):
    ended = run_nowthen(*words(redis_server, "--late-max", "1us"))
    assert ended.returncode == 1 and "NOT VALID" in ended.stderr
    assert "reads" in ended.stdout and "µs/request" in ended.stdout
    told = bench(redis_server, "--late-max", "1us", code=1)
    assert told["is_valid"] is False and "NOT VALID" in told["problems"][0]


def test_a_password_is_said_and_not_shown(start_nowthen):
    server = start_nowthen("--durability", "never", "--save", "", "--requirepass", "hunter2")
    arguments = words(server, "--json")
    refused = run_nowthen(*arguments)
    assert refused.returncode == 1 and "NOAUTH" in refused.stderr
    arguments[2] = f"redis://:hunter2@127.0.0.1:{server.port}"
    ended = run_nowthen(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["answered"] == RATE * SECONDS
    assert "hunter2" not in ended.stdout + ended.stderr


def test_a_server_that_goes_away_ends_the_run_with_1(start_nowthen):
    server = start_nowthen("--durability", "never", "--save", "")
    bench(server)
    process = begin(server)
    time.sleep(0.5)
    server.kill()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert f"127.0.0.1:{server.port}" in errors, errors
    refused = run_nowthen(*words(server))
    assert refused.returncode == 1 and "connecting to" in refused.stderr


WRONG = {
    "--rate 0": ["--rate", "'0'", "max"],
    "--rate fast": ["--rate", "'fast'", "max"],
    "--duration 10": ["--duration", "'10'", "such as 6h"],
    "--duration 25h": ["--duration", "'25h'", "a day"],
    "--mix read=50": ["--mix", "'read=50'", "read=95,write=5"],
    "--keys hot": ["--keys", "'hot'", "zipf"],
    "--keys zipf:0": ["--keys", "'zipf:0'", "above 0"],
    "--read get": ["--read", "'get'", "fs.get-vector"],
    "--tier gold": ["--tier", "'gold'", "registered"],
    "--clients 0": ["--clients", "0", "1..=10000"],
    "--entities 9000001": ["--entities", "9000001", "9000000"],
    "--fields 9 --features 8": ["--fields 9", "--features 8", "some or all"],
    "--threads 3 --clients 2": ["--threads 3", "--clients 2", "needs a connection"],
    "--read fs.get-vector": ["--read fs.get-vector", "--tier registered", "FS.GET"],
    "--url http://h": ["--url", "redis://"],
    "--server-pid 4194305": ["--server-pid 4194305", "no process"],
    "--tier registered": ["--tier registered", "nowthen", "redis"],
    "--nonsense": ["--nonsense"],
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_arguments_end_with_2_and_say_what_would_be_right(arguments, redis_server):
    given = arguments.split()
    if "--url" not in given:
        given += ["--url", url_of(redis_server)]
    ended = run_nowthen("bench", *given)
    assert ended.returncode == 2 and ended.stdout == ""
    for part in [*WRONG[arguments], "try '--help'"]:
        assert part in ended.stderr, ended.stderr


def test_help_has_an_example_and_the_exit_codes():
    ended = run_nowthen("bench", "--help")
    assert ended.returncode == 0
    assert "  nowthen bench --rate" in ended.stdout and "Exit codes: 0" in ended.stdout
