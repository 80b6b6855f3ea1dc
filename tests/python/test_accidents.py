"""The five accidents of tests/accidents, done to nowthen: what each may come to.

`python3 tests/accidents/run.py` does them to redis-server as well and prints both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BINARY, ROOT

sys.path.insert(0, str(ROOT / "tests" / "accidents"))
import accidents
import peers
import run


@pytest.fixture
def peer(tmp_path: Path):
    peer = peers.Nowthen(tmp_path, BINARY)
    yield peer
    peer.kill()


def assert_nothing_lost(outcome: accidents.Outcome) -> None:
    assert outcome.refused is None, str(outcome)
    assert outcome.acknowledged > 0
    assert (outcome.lost, outcome.wrong) == (0, 0), str(outcome)


def test_a_flipped_bit_stops_the_start_and_file_and_lsn_are_named(peer):
    outcome = accidents.flipped_bit(peer)
    assert outcome.refused == 65
    assert str(peer.log_file()) in outcome.said
    assert "LSN 50 to 99 are lost" in outcome.said


def test_zeros_after_the_log_are_its_end(peer):
    assert_nothing_lost(accidents.zeros_behind(peer))


@pytest.mark.skipif(not accidents.can_mount(), reason="only root can make a small disk")
@pytest.mark.parametrize("sync", [peers.Nowthen.always, peers.Nowthen.every_second])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_full_disk_refuses_writes_and_goes_on_when_there_is_space(sync, is_killed):
    with accidents.small_disk() as folder:
        peer = peers.Nowthen(folder, BINARY)
        peer.sync = sync
        outcome = run.done(lambda peer: accidents.full_disk(peer, is_killed), peer)
        assert outcome.error.startswith("NOSPACE ") and outcome.reads_went_on
        assert outcome.stopped is None
        assert_nothing_lost(outcome)


def test_one_failed_sync_ends_the_process_and_what_was_acknowledged_is_there(peer, tmp_path):
    outcome = accidents.failed_sync(peer, accidents.failing_sync(tmp_path))
    assert outcome.error.startswith("IOERR outcome unknown: ") or outcome.stopped is not None
    assert outcome.stopped not in (None, 0), str(outcome)
    assert_nothing_lost(outcome)


@pytest.mark.parametrize("sync", [peers.Nowthen.always, peers.Nowthen.every_second])
def test_kill_9_under_load_loses_nothing_acknowledged(peer, sync):
    peer.sync = sync
    assert_nothing_lost(accidents.kill_under_load(peer))


def test_redis_is_told_of_beside(tmp_path: Path):
    """That the harm is harm: Redis serves the flipped bit, and says so in the table."""
    make: Callable[[Path], peers.Peer] = peers.Redis
    outcome = run.done(accidents.flipped_bit, make(tmp_path))
    print(f"redis-server: {outcome}")
    assert outcome.acknowledged == accidents.KEYS
