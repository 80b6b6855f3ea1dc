"""100 entities x 50 features into a numpy matrix, end to end in Python: redis-py and FS.GET.

    python benches/end_to_end/python_matrix.py [--binary target/release/nowthen] [--rounds 5] [--seconds 2]
    python benches/end_to_end/python_matrix.py --quick      a few entities, for a moment: part of ./check

Both servers have one core, this process the other, and both the same doubles, half of them of 17
digits. Three ways take their turn in each round, and every matrix of the last turn is compared:

- redis-server: a pipeline of 100 HMGETs of redis-py, its replies parsed by numpy;
- nowthen, redis-py: one FS.GET AS VECTOR of a feature service, the frame read in place;
- nowthen, socket: the same request over a plain socket, its front made once.

Told are medians of the rounds, of the median time of a batch. redis-py parses replies with hiredis
if that is installed (`pip install redis hiredis numpy`), as the first line says.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import redis
from redis.utils import HIREDIS_AVAILABLE
from server import RELEASE_BINARY, nowthen, redis_server

FEATURES = [f"f{number}" for number in range(50)]
BATCH = 100
PIPELINE = 200
# After magic, version, type and flags, rows and columns (PROTOCOL.md, "AS VECTOR").
HEADER_BYTES = 24

DEFINITIONS = """
[entity.user]
join_keys = {{ user = "int64" }}

[view.numbers]
entity = "user"
features = {{ {features} }}

[service.model]
features = [{names}]
"""

Matrix = np.ndarray
Way = Callable[[list[int]], Matrix]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--binary", type=Path, default=RELEASE_BINARY)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.entities, options.rounds, options.seconds = 500, 1, 0.2
    served, *free = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, free or [served])
    definitions = DEFINITIONS.format(
        features=", ".join(f'{name} = "float64"' for name in FEATURES),
        names=", ".join(f'"numbers:{name}"' for name in FEATURES),
    )
    modes = ["--threads", "1", "--durability", "never"]
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(folder, [served]) as of_redis,
        nowthen(options.binary, folder, definitions, [served], *modes) as of_us,
    ):
        fill([of_redis.client, of_us.client], options.entities)
        ways = {
            "redis-server, redis-py": pipeline_of_hmget(of_redis.client),
            "nowthen, redis-py": fs_get(of_us.client),
            "nowthen, socket": fs_get_by_socket(of_us.port),
        }
        compare(ways, options)


def fill(clients: list[redis.Redis], entities: int) -> None:
    """Writes the same values into both."""
    numbers = random.Random(1)
    for start in range(0, entities, PIPELINE):
        pipelines = [client.pipeline(transaction=False) for client in clients]
        for entity in range(start, min(start + PIPELINE, entities)):
            digits = (2 if index % 2 else 17 for index in range(len(FEATURES)))
            values = [repr(round(numbers.random(), count)) for count in digits]
            words = [word for pair in zip(FEATURES, values, strict=True) for word in pair]
            for pipeline in pipelines:
                pipeline.execute_command("HSET", f"user:{entity}", *words)
        for pipeline in pipelines:
            pipeline.execute()


def compare(ways: dict[str, Way], options: argparse.Namespace) -> None:
    batches = [random.Random(seed).sample(range(options.entities), BATCH) for seed in range(1000)]
    medians: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            medians[name].append(median_us(way, batches, options.seconds))
        answers = [way(batches[number]) for way in ways.values()]
        for answer in answers[1:]:
            np.testing.assert_array_equal(answer, answers[0])
    print(f"redis-py {redis.__version__}, {'with' if HIREDIS_AVAILABLE else 'WITHOUT'} hiredis\n")
    print("| 100 x 50 into a numpy matrix | µs/batch | times faster |\n|---|--:|--:|")
    taken = {name: statistics.median(figures) for name, figures in medians.items()}
    slowest = next(iter(taken.values()))
    for name, figure in taken.items():
        print(f"| {name} | {figure:.0f} | {slowest / figure:.1f} |")


def pipeline_of_hmget(client: redis.Redis) -> Way:
    def read(entities: list[int]) -> Matrix:
        pipeline = client.pipeline(transaction=False)
        for entity in entities:
            pipeline.hmget(f"user:{entity}", FEATURES)
        return np.array(pipeline.execute(), dtype=np.float64)

    return read


def fs_get(client: redis.Redis) -> Way:
    def read(entities: list[int]) -> Matrix:
        frame = client.execute_command(
            "FS.GET", "SERVICE", "model", "FOR", 1, "user", "ROWS", len(entities), *entities, "AS", "VECTOR"
        )
        return np.frombuffer(frame, "<f8", BATCH * len(FEATURES), HEADER_BYTES).reshape(BATCH, -1)

    return read


def fs_get_by_socket(port: int) -> Way:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    replies = connection.makefile("rb", buffering=1 << 16)
    words = "FS.GET", "SERVICE", "model", "FOR", "1", "user", "ROWS", str(BATCH), "AS", "VECTOR"
    *front, back_as, back_form = [f"${len(word)}\r\n{word}\r\n" for word in words]
    front = "".join([f"*{len(words) + BATCH}\r\n", *front])

    def read(entities: list[int]) -> Matrix:
        rows = "".join([f"${len(text)}\r\n{text}\r\n" for text in map(str, entities)])
        connection.sendall(f"{front}{rows}{back_as}{back_form}".encode())
        header = replies.readline()
        if header[:1] != b"$":
            raise SystemExit(f"an error: {header!r}")
        frame = replies.read(int(header[1:]) + 2)
        return np.frombuffer(frame, "<f8", BATCH * len(FEATURES), HEADER_BYTES).reshape(BATCH, -1)

    return read


def median_us(way: Way, batches: list[list[int]], seconds: float) -> float:
    """The median time of a batch, after a tenth of the time to get warm."""
    took = []
    begin = time.perf_counter()
    while (started := time.perf_counter()) < begin + seconds or not took:
        way(batches[len(took) % len(batches)])
        took.append(time.perf_counter() - started)
    return statistics.median(took[len(took) // 10 :]) * 1e6


if __name__ == "__main__":
    main()
