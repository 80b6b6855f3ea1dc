"""What the Python programs share: how they are called, and the data of each step.

Called as `program.py PORT PROTOCOL MODE STEP...`: protocol 2 or 3, mode `single` or `cluster`.
Each step prints its name when it has passed. The step `restart` prints `please restart` and waits
for a line on its input: by then the server is back, on the same port and with the same data.
"""

from __future__ import annotations

import sys

PORT = int(sys.argv[1])
PROTOCOL = int(sys.argv[2])
IS_CLUSTER = sys.argv[3] == "cluster"
STEPS = sys.argv[4:]

BINARY_TEXTS = [b"", b"\x00", b"\r\n", b"a\r\nb\x00c", bytes(range(256)), b"\xff" * 65536]
FIELDS = {f"field:{n}": f"value:{n}" for n in range(200)}
# The patterns of Redis' documentation of feature stores: batch features of an entity are one hash
# that expires as a whole, streaming features are fields that expire each on its own.
BATCH_FEATURES = {"country": "FR", "age_days": "412", "spend_30d": "182.5", "segment": "b"}
STREAMING_FEATURES = {"clicks_5m": "17", "last_page": "/cart"}
RESTART_SECONDS_MAX = 20


def passed(step: str) -> None:
    print(step, flush=True)


def wait_for_restart() -> None:
    print("please restart", flush=True)
    assert sys.stdin.readline() == "restarted\n"


def between(low: float, value: float, high: float) -> bool:
    """For times to live, which fall while the test runs."""
    return low <= value <= high
