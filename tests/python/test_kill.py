"""SIGKILL under eight writers, a short form of `kill_campaign.py`; and that its judge can say no.

`NOWTHEN_KILL_CYCLES` sets the number of cycles, `NOWTHEN_KILL_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from acknowledgements import AcknowledgementList, Bounds
from counting_writers import DEFINITIONS
from kill_campaign import CYCLES_PER_LIFE, MODES, Life, Wrong, judge, told

CYCLES = int(os.environ.get("NOWTHEN_KILL_CYCLES", "100"))
SEED = int(os.environ.get("NOWTHEN_KILL_SEED", random.randrange(2**32)))


@pytest.mark.parametrize("mode", sorted(set(MODES)))
def test_no_acknowledged_write_is_lost_by_sigkill(mode, tmp_path):
    print(f"repeat with NOWTHEN_KILL_SEED={SEED}")
    chance = random.Random(f"{SEED} {mode}")
    cycles_left = CYCLES // len(set(MODES)) + 1
    while cycles_left > 0:
        seed = chance.randrange(2**32)
        life = Life(tmp_path / str(seed), seed, mode)
        cycles = min(cycles_left, CYCLES_PER_LIFE)
        seen = life.run(cycles)
        print(f"{life}: {told(seen)}")
        assert seen["acknowledged"] > cycles, "the writers hardly wrote"
        cycles_left -= cycles


def test_the_judge_says_what_was_lost_or_invented():
    bounds = Bounds(begun=0, acked=5, sent=7)
    assert [judge("k", bounds, count, False) for count in (5, 6, 7)] == [5, 6, 7]
    for found, word in ((4, "lost"), (8, "invented"), (None, "lost")):
        with pytest.raises(Wrong, match=word):
            judge("k", bounds, found, False)
    # The fourth was a deletion, and so will be the eighth.
    with pytest.raises(Wrong, match="lost"):
        judge("k", bounds, None, True)
    assert judge("k", Bounds(0, 5, 9), None, True) == 8


def test_the_list_outlives_those_who_write_it(tmp_path: Path):
    noted = AcknowledgementList(tmp_path / "list", {"k": 3})
    noted.note([("sent", "k", 4), ("sent", "k", 5)])
    noted.note([("acked", "k", 4), ("sent", "k", 6)])
    assert noted.read() == {"k": Bounds(begun=3, acked=4, sent=6)}
    noted.close()


def test_a_key_deleted_before_sigkill_stays_deleted(start_nowthen):
    """Plain keys and entities; a later write with an older event does not bring them back."""
    server = start_nowthen(definitions=DEFINITIONS)
    client = server.client()
    client.hset("counter:a", mapping={"n": 1, "text": "x"})
    client.hset("plain", "f", "v")
    assert client.delete("counter:a", "plain") == 2
    server.kill()
    server.start()
    client = server.client()
    assert client.exists("counter:a", "plain") == 0
    old = ("FS.SET", "counts", "EVENT", "2020-01-01T00:00:00Z", "ROWS", 1, "FEATURES", 1, "n", "a", 7)
    assert client.execute_command(*old) == [0, 1]
    assert client.hget("counter:a", "n") is None
