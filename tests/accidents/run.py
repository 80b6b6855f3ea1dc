"""Five accidents, done to Debian's redis-server and to nowthen, side by side.

    python3 tests/accidents/run.py --nowthen target/release/nowthen

Prints a table of what each lost, served or refused. It needs redis-server and gcc, and root for the
full disk and its release.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import accidents
from accidents import Outcome
from peers import Nowthen, Peer, Redis

Maker = Callable[[Path], Peer]


def outcomes(make: Maker, program: Path) -> Iterator[tuple[str, Outcome]]:
    """Every accident, done to servers that `make` makes."""

    def killed_while_full(peer: Peer) -> Outcome:
        return accidents.full_disk(peer, is_killed_while_full=True)

    def failed_sync(peer: Peer) -> Outcome:
        return accidents.failed_sync(peer, program)

    with new_folder() as folder:
        yield "a flipped bit in a value in the log", done(accidents.flipped_bit, make(folder))
    with new_folder() as folder:
        yield "4 KiB of zeros after the log", done(accidents.zeros_behind, make(folder))
    if accidents.can_mount():
        with accidents.small_disk() as folder:
            yield "a full disk, and its release", done(accidents.full_disk, make(folder))
        with accidents.small_disk() as folder:
            peer = every_second(make(folder))
            yield "a full disk, synced every second", done(accidents.full_disk, peer)
        with accidents.small_disk() as folder:
            peer = every_second(make(folder))
            yield "the same, and kill -9 while it is full", done(killed_while_full, peer)
    with new_folder() as folder:
        yield "one failed fsync", done(failed_sync, make(folder))
    with new_folder() as folder:
        yield "kill -9 under load", done(accidents.kill_under_load, make(folder))
    with new_folder() as folder:
        peer = every_second(make(folder))
        yield "kill -9 under load, synced every second", done(accidents.kill_under_load, peer)


def every_second(peer: Peer) -> Peer:
    peer.sync = peer.every_second
    return peer


def done(accident: Callable[[Peer], Outcome], peer: Peer) -> Outcome:
    try:
        return accident(peer)
    finally:
        peer.kill()


class new_folder(tempfile.TemporaryDirectory):
    """A folder that goes with its block."""

    def __enter__(self) -> Path:
        return Path(super().__enter__())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nowthen", type=Path, default=Path("target/release/nowthen"))
    options = parser.parse_args()
    with new_folder() as folder:
        program = accidents.failing_sync(folder)
        of_redis = dict(outcomes(Redis, program))
        of_nowthen = dict(outcomes(lambda folder: Nowthen(folder, options.nowthen), program))
    print("| accident | redis-server | nowthen |\n|---|---|---|")
    for name, outcome in of_redis.items():
        print(f"| {name} | {outcome} | {of_nowthen[name]} |")


if __name__ == "__main__":
    main()
