"""A full disk: writes are refused, reads go on, snapshots fail without harm, and once there is space
everything goes on by itself. On a small file system of its own (tmpfs), which needs a mount: as
root at once, otherwise in a namespace where we are root. Where neither is allowed the test fails.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from conftest import Nowthen

# One segment of 64 MiB fits, two do not.
SMALL, LARGE = "100m", "400m"
VALUE_BYTES = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


if os.geteuid() != 0:

    def test_the_tests_of_this_file_as_root_of_a_namespace():
        command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", __file__]
        subprocess.run([*command, "-p", "no:cacheprovider"], check=True, timeout=600)

else:

    @pytest.fixture
    def server(small_disk, tmp_path):
        server = Nowthen(small_disk, None, ("--save", ""))
        server.output = tmp_path / "output"
        server.start()
        yield server
        server.kill()

    def test_a_full_disk_refuses_writes_keeps_reads_and_goes_on_by_itself(server, small_disk):
        check_a_full_disk(server, small_disk)

    def test_a_start_that_needs_space_says_so_and_loses_nothing(server, small_disk):
        check_a_kill_on_a_full_disk(server, small_disk)


class Writer:
    """Writes values that nothing compresses, and remembers what was acknowledged."""

    def __init__(self, server: Nowthen):
        self.server = server
        self.chance = random.Random(7)
        self.acknowledged: dict[str, bytes] = {}
        self.client = server.client()

    def write(self) -> None:
        key, value = f"key:{len(self.acknowledged)}", self.chance.randbytes(VALUE_BYTES)
        self.client.set(key, value)
        self.acknowledged[key] = value

    def write_until_full(self) -> None:
        with pytest.raises(redis.ResponseError, match="^NOSPACE no space left for the log"):
            while True:
                self.write()
        assert 40 < len(self.acknowledged) < 64, "a segment full"

    def write_again(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.write()
            except redis.ResponseError as refused:
                assert str(refused).startswith("NOSPACE") and time.monotonic() < deadline
                time.sleep(0.05)

    def check(self) -> None:
        assert self.client.dbsize() == len(self.acknowledged)
        assert {key: self.client.get(key) for key in self.acknowledged} == self.acknowledged


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={LARGE}", disk], check=True)


def check_a_full_disk(server: Nowthen, disk: Path) -> None:
    writer, client = Writer(server), server.client()
    writer.write_until_full()
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="^NOSPACE"):
            client.set("refused", writer.chance.randbytes(VALUE_BYTES))
        time.sleep(0.15)
    writer.check()
    assert client.info("persistence")["aof_last_write_status"] == "ok", "nothing is lost by it"

    with pytest.raises(redis.ResponseError, match="No space left"):
        client.save()
    assert client.info("persistence")["rdb_last_bgsave_status"] == "err"
    assert list((server.data / "snapshots").iterdir()) == [], "nothing is left of it"
    writer.check()

    grow(disk)
    writer.write_again()
    writer.write()
    assert client.save()
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
    server.kill()
    server.start()
    writer.client = server.client()
    writer.check()


def check_a_kill_on_a_full_disk(server: Nowthen, disk: Path) -> None:
    """What was written last must be copied to a file of its own before it goes on (D8): that needs
    space. Without it the start says so and changes nothing."""
    writer = Writer(server)
    writer.write_until_full()
    server.kill()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="allocating a copy of .*No space left on device"):
            server.start()
        assert server.process.returncode == 1
    grow(disk)
    server.start()
    writer.client = server.client()
    writer.check()
    writer.write()
