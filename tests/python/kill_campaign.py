"""SIGKILL, again and again: what was acknowledged is there, nothing else is, in every mode.

```text
life    a new data directory, one mode of durability, segments of some length, N cycles, gone
cycle   eight writers ── SIGKILL ── start ── (SIGKILL in the midst of that ── start) ── verdict
verdict of every key:   last acknowledged <= what the server has <= last sent
```
The list of acknowledgements is a file outside the data directory, synced before a writer goes on,
and all that the verdict knows (`acknowledgements.py`). In some cycles a snapshot is being written,
or just was, when the kill comes. Segments are short in some lives, so that kills meet the change
from one to the next, and the trimming of the log. What a life leaves is removed with it, so the
disk never holds more than one life per job.

10,000 cycles, two data directories at a time, some 40 minutes:
    .venv/bin/python tests/python/kill_campaign.py --cycles 10000
One life again:
    .venv/bin/python tests/python/kill_campaign.py --life SEED --cycles 50
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from acknowledgements import AcknowledgementList, Bounds
from conftest import Nowthen
from counting_writers import DEFINITIONS, DELETE_EVERY, Writer, eight_writers
from resp import Wire

CYCLES_PER_LIFE = 50
ALIVE_SECONDS = (0.02, 0.2)
START_SECONDS = 0.05
SHARE_OF_KILLED_STARTS = 0.2
MODES = ("always", "always", "interval:50", "never")
SEGMENT_BYTES = (64 * 1024, 1024 * 1024, 64 * 1024 * 1024)


class Wrong(AssertionError):
    """The server has something that it should not have, or has not."""


@dataclass
class Life:
    """One data directory and what happens to it, all of it from one seed."""

    folder: Path
    seed: int
    # Drawn, if it is not given.
    mode: str | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        drawn = self.chance.choice(MODES)
        self.mode = self.mode or drawn
        self.segment_bytes = self.chance.choice(SEGMENT_BYTES)
        is_registered = self.chance.random() < 0.5
        self.writers = eight_writers(is_registered)
        self.seen: Counter[str] = Counter()
        repository = self.folder / "repository"
        repository.mkdir(parents=True)
        (repository / "features.toml").write_text(DEFINITIONS if is_registered else "")
        arguments = ("--durability", self.mode, "--segment-bytes", str(self.segment_bytes))
        self.server = Nowthen(self.folder, repository, arguments)

    def __str__(self) -> str:
        length = f"{self.segment_bytes // 1024} KiB"
        return f"life {self.seed} ({self.mode}, segments of {length})"

    def run(self, cycles: int) -> Counter[str]:
        """All cycles, a clean stop and a last look; what was seen."""
        try:
            self.server.start()
            noted = self.begin(0)
            for cycle in range(1, cycles + 1):
                self.kill_under_writers(noted)
                self.start_again()
                with Wire(self.server.port) as wire:
                    self.verdict(wire, noted)
                noted = self.begin(cycle, noted)
                self.seen["cycles"] += 1
            self.server.restart()
            with Wire(self.server.port) as wire:
                self.verdict(wire, noted)
            noted.close()
            self.note_files()
        except (AssertionError, RuntimeError, OSError) as error:
            place = f"{self}, cycle {self.seen['cycles'] + 1}, left in {self.folder}"
            raise Wrong(f"{place}: {type(error).__name__}: {error}") from error
        finally:
            self.server.kill()
        return self.seen

    def begin(self, cycle: int, last: AcknowledgementList | None = None) -> AcknowledgementList:
        """A new list, which begins with what the server was found to have."""
        counts = {key: count for writer in self.writers for key, count in writer.counts.items()}
        noted = AcknowledgementList(self.folder / f"acknowledged-{cycle}", counts)
        if last is not None:
            last.close()
            last.path.unlink()
        return noted

    def kill_under_writers(self, noted: AcknowledgementList) -> None:
        threads = [
            threading.Thread(
                target=writer.write_until_killed, args=(self.server.port, noted), daemon=True
            )
            for writer in self.writers
        ]
        for thread in threads:
            thread.start()
        seconds = self.chance.uniform(*ALIVE_SECONDS)
        saves_after = self.chance.uniform(0, 2 * ALIVE_SECONDS[1])
        if saves_after < seconds:
            time.sleep(saves_after)
            with Wire(self.server.port) as wire:
                assert wire.ask("BGSAVE")[0] == "+"
            self.seen["snapshots begun"] += 1
            seconds -= saves_after
        time.sleep(seconds)
        self.server.kill()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a writer that does not notice the end"

    def start_again(self) -> None:
        """Sometimes the recovery is killed, too, at whatever it does then."""
        while self.chance.random() < SHARE_OF_KILLED_STARTS:
            self.server.launch()
            time.sleep(self.chance.uniform(0, START_SECONDS))
            self.server.kill()
            self.seen["starts killed"] += 1
        self.server.start()

    def verdict(self, wire: Wire, noted: AcknowledgementList) -> None:
        """Every key holds a count that it may hold; the writers go on from there."""
        bounds = noted.read()
        keys = 0
        for writer in self.writers:
            if writer.refused:
                raise Wrong(f"refused: {writer.refused[:3]}")
            for key in writer.keys:
                found = writer.found(wire, key)
                of_key = bounds[key]
                self.seen["acknowledged"] += of_key.acked - of_key.begun
                self.seen["in doubt"] += of_key.sent - of_key.acked
                writer.counts[key] = judge(key, of_key, found, writer.kind.is_deleting)
                keys += (found is not None) * (2 if "pair" in key else 1)
        size = wire.ask("DBSIZE")
        if size != (":", keys):
            raise Wrong(f"{keys} keys were found, DBSIZE says {size}")

    def note_files(self) -> None:
        """What the folder of the log tells of the life."""
        names = [path.name for path in (self.server.data / "log").iterdir()]
        numbers = [int(name[4:24]) for name in names if name.endswith(".log")]
        self.seen["segments"] += max(numbers)
        self.seen["segments trimmed"] += min(numbers) - 1
        self.seen["torn ends"] += sum(name.endswith(".aside") for name in names)


def judge(key: str, bounds: Bounds, found: int | None, is_deleting: bool) -> int:
    """The count that a key has; `Wrong` if it may not have it."""
    if found is None:
        found = bounds.sent - bounds.sent % DELETE_EVERY if is_deleting else 0
    if bounds.acked <= found <= bounds.sent:
        return found
    what = "lost" if found < bounds.acked else "invented"
    raise Wrong(f"{what}: {key} has {found} of acknowledged {bounds.acked}, sent {bounds.sent}")


def one_life(task: tuple[Path, int, int]) -> tuple[str, Counter[str], str | None]:
    """A life in a process of its own; its folder stays only if something was wrong."""
    folder, seed, cycles = task
    life = Life(folder / str(seed), seed)
    try:
        seen = life.run(cycles)
    except Wrong as wrong:
        return str(life), life.seen, str(wrong)
    shutil.rmtree(life.folder)
    return str(life), seen, None


def campaign(folder: Path, seeds: list[int], cycles: int, jobs: int) -> tuple[Counter[str], list]:
    """Lives of `CYCLES_PER_LIFE` until there were so many cycles; sums, and what was wrong."""
    tasks = [
        (folder, seed, min(CYCLES_PER_LIFE, cycles - first))
        for seed, first in zip(seeds, range(0, cycles, CYCLES_PER_LIFE), strict=False)
    ]
    sums: Counter[str] = Counter()
    wrong = []
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for life, seen, error in pool.imap_unordered(one_life, tasks):
            sums += seen
            sums[f"cycles in {life.split('(')[1].split(',')[0]}"] += seen["cycles"]
            seconds = int(time.monotonic() - start)
            print(f"{seconds:6} s {sums['cycles']:6} cycles, {life}: {told(seen)}", flush=True)
            if error is not None:
                wrong.append(error)
                print(f"WRONG: {error}", flush=True)
    return sums, wrong


def told(seen: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a server under eight writers.")
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="lives at a time")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--life", type=int, help="the seed of one life, to repeat it")
    parser.add_argument("--folder", type=Path, help="where the data directories are made")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nowthen-kill-", dir=options.folder))
    print(f"seed {options.seed}, in {folder}", flush=True)
    lives = -(-options.cycles // CYCLES_PER_LIFE)
    chance = random.Random(options.seed)
    seeds = [chance.randrange(2**32) for _ in range(lives)]
    if options.life is not None:
        seeds = [options.life]
    sums, wrong = campaign(folder, seeds, options.cycles, options.jobs)
    print(f"{told(sums)}; lives with something lost or invented: {len(wrong)}")
    if not wrong:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
