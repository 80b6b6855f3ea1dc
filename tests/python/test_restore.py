"""Backups of a running server, what is restored from them, and the operator's chapter as a test.

docs/restore.md is run block by block: `nowthen` and `redis-cli` on the path lead to this binary and
to the port of the test, everything else is what the shell has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import redis
from conftest import BINARY, ROOT, free_ports, run_nowthen

CHAPTER = ROOT / "docs" / "restore.md"
WRITERS = 8
DAMAGED = 65


def state(client: redis.Redis) -> dict[bytes, object]:
    """Every key with its value, by SCAN, HGETALL and GET."""
    read = {b"hash": client.hgetall, b"string": client.get}
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=1000)}


def told(*arguments: str | Path) -> dict:
    """What a verb says with --json."""
    ended = run_nowthen(*arguments, "--json", timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def restored(start_nowthen, source: Path, *point: str):
    """A server on what was restored, and what the verb said."""
    server = start_nowthen()
    server.stop()
    shutil.rmtree(server.data)
    report = told("restore", source, "--to", server.data, *point)
    server.start()
    return server, report


class Shell:
    """One bash in an empty folder, given block after block."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port, http_port = free_ports(2)
        programs = folder / "programs"
        programs.mkdir()
        (programs / "nowthen").symlink_to(BINARY.absolute())
        real = subprocess.run(["which", "redis-cli"], capture_output=True, text=True, check=True)
        script = programs / "redis-cli"
        script.write_text(f'#!/bin/sh\nexec {real.stdout.strip()} -p {self.port} "$@"\n')
        script.chmod(0o755)
        self.work = folder / "work"
        self.work.mkdir()
        variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "NOWTHEN_PORT": str(self.port),
            "NOWTHEN_HTTP_PORT": str(http_port),
        }
        self.output = (folder / "output").open("w+")
        self.process = subprocess.Popen(
            ["bash", "-e"],
            cwd=self.work,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.blocks = 0

    def run(self, block: str) -> None:
        """Runs a block to its end."""
        self.blocks += 1
        mark = self.folder / f"done-{self.blocks}"
        self.process.stdin.write(f"{block}\ntouch {mark}\n")
        self.process.stdin.flush()
        for _ in range(600):
            if mark.exists():
                return
            if self.process.poll() is not None:
                break
            threading.Event().wait(0.1)
        raise AssertionError(f"this block failed:\n{block}\n{self.text()}")

    def text(self) -> str:
        return (self.folder / "output").read_text()

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def close(self) -> None:
        try:
            self.client().shutdown(nosave=True)
        except redis.RedisError:
            pass
        self.process.stdin.close()
        self.process.wait(20)
        self.output.close()


def blocks() -> list[str]:
    found = re.findall(r"^```sh\n(.*?)^```$", CHAPTER.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) > 8, "the chapter has lost its commands"
    return found


def test_the_chapter_of_an_accident_does_what_it_says(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    try:
        before = None
        for block in blocks():
            # The state that the chapter promises to bring back.
            calm, flush, later = block.partition("redis-cli FLUSHALL")
            shell.run(calm)
            if flush:
                before = state(shell.client())
                shell.run(flush + later)
                assert state(shell.client()) == {b"stock:9": b"1"}
            if "verify-backup backups/monday\n" in block:
                assert "to the same state" in shell.text()
        assert before and before[b"user:1"] == {b"name": b"Ada", b"visits": b"13"}
        assert state(shell.client()) == before
        assert sorted(path.name for path in shell.work.iterdir()) == [
            "backups", "check.json", "data-restored", "monday.json",
        ]
    finally:
        shell.close()


def write(server, number: int, acknowledged: list[int], stop: threading.Event) -> None:
    """Sets one field after the other to the next number, and notes what was acknowledged."""
    client = server.client()
    while not stop.is_set():
        next_number = acknowledged[number] + 1
        client.hset(f"writer:{number}", f"field:{next_number % 50}", next_number)
        acknowledged[number] = next_number


def newest(client: redis.Redis, number: int) -> int:
    values = {int(value) for value in client.hvals(f"writer:{number}")}
    last = max(values, default=0)
    # A prefix of what it wrote: the fifty newest up to the last, none missing.
    assert values == set(range(max(1, last - 49), last + 1))
    return last


@pytest.mark.parametrize(
    ("is_copy", "durability"), [(False, "always"), (True, "interval:1000"), (False, "never")]
)
def test_a_backup_under_load_holds_all_that_was_acknowledged_before(
    start_nowthen, tmp_path: Path, is_copy: bool, durability: str
) -> None:
    server = start_nowthen("--durability", durability)
    acknowledged, stop = [0] * WRITERS, threading.Event()
    threads = [
        threading.Thread(target=write, args=(server, number, acknowledged, stop))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    saver = server.client()
    taken = []
    try:
        for number in range(4):
            threading.Event().wait(0.5)
            # The server writes a snapshot, and trims its log, while the backup is taken.
            try:
                saver.bgsave()
            except redis.ResponseError as error:
                assert "already in progress" in str(error)
            before = list(acknowledged)
            to = tmp_path / f"backup-{number}"
            how = ["--copy"] if is_copy else []
            report = told("backup", server.data, to, *how)
            taken.append((to, before, list(acknowledged), report))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    end = state(server.client())
    for to, before, after, report in taken:
        shared = [path for path in to.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
        assert is_copy == (report["linked_files"] == 0) and not (is_copy and shared)
        verified = told("verify-backup", to)
        assert verified["last_lsn"] == report["last_lsn"]
        other, report = restored(start_nowthen, to)
        assert report["digest"] == verified["digest"]
        client = other.client()
        for number in range(WRITERS):
            # One more may have been written and not acknowledged yet.
            assert before[number] <= newest(client, number) <= after[number] + 1
        other.stop()
    # The server never noticed.
    server.restart()
    assert state(server.client()) == end
    assert [newest(server.client(), number) for number in range(WRITERS)] == acknowledged


def test_a_stopped_servers_data_is_restored_by_lsn_and_by_time(start_nowthen, tmp_path) -> None:
    server = start_nowthen()
    client = server.client()
    times = []
    for number in range(1, 6):
        client.set("k", number)
        client.hset("h", f"f{number}", number)
        times.append(client.time())
        threading.Event().wait(0.01)
    locked = run_nowthen("restore", server.data, "--to", tmp_path / "no")
    assert locked.returncode == 1
    assert "is in use by a server: stop it, or take a backup" in locked.stderr
    server.stop()
    for number in range(1, 6):
        seconds, us = times[number - 1]
        for point in [
            ["--to-lsn", str(2 * number)],
            ["--to-time", str(seconds * 10**6 + us)],
        ]:
            other, report = restored(start_nowthen, server.data, *point)
            assert (report["lsn"], report["keys"]) == (2 * number, 2)
            fields = {f"f{n}".encode(): b"%d" % n for n in range(1, number + 1)}
            assert state(other.client()) == {b"k": b"%d" % number, b"h": fields}
            other.stop()


def test_what_is_unfinished_or_damaged_is_refused(start_nowthen, tmp_path: Path) -> None:
    server = start_nowthen()
    server.client().set("k", "v")
    server.client().save()
    backup = tmp_path / "backup"
    told("backup", server.data, backup)
    server.stop()

    def refused(code: int, *arguments: str | Path) -> str:
        ended = run_nowthen(*arguments)
        assert ended.returncode == code, (ended.stdout, ended.stderr)
        assert ended.stdout == ""
        return ended.stderr

    for verb, to in [("backup", []), ("restore", ["--to"])]:
        text = refused(1, verb, server.data, *to, backup)
        assert f"a {verb} needs a new or empty folder" in text
    ports = ["--port", "0", "--http-port", "0"]
    assert "is a backup, which stays as it is" in refused(1, "serve", "--data", backup, *ports)
    assert "is a data directory and no backup" in refused(1, "verify-backup", server.data)
    assert "neither a backup nor a data directory" in refused(
        1, "restore", tmp_path, "--to", tmp_path / "no"
    )
    late = refused(1, "restore", backup, "--to", tmp_path / "no", "--to-lsn", "99")
    assert "LSN 99 is not there: the last record is LSN 1 of 20" in late
    early = refused(1, "restore", backup, "--to", tmp_path / "no", "--to-time", "1999-01-01")
    assert "1999-01-01T00:00:00Z cannot be reached" in early
    assert not (tmp_path / "no").exists()

    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "BACKUP.tmp").write_bytes(b"")
    half = tmp_path / "half"
    half.mkdir()
    (half / "RESTORING").write_bytes(b"")
    for folder, sentence in [(unfinished, "is an unfinished backup"), (half, "is half restored")]:
        for arguments in [
            ["serve", "--data", folder, *ports],
            ["backup", folder, tmp_path / "no"],
            ["verify", folder],
            ["verify-backup", folder],
            ["restore", folder, "--to", tmp_path / "no"],
        ]:
            assert sentence in refused(1, *arguments)

    for path in sorted(backup.rglob("*")):
        if path.is_file():
            # Not in place: it may be a link to a file of the server.
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.rename(tmp_path / "aside")
            path.write_bytes(content)
            assert str(path) in refused(DAMAGED, "verify-backup", backup)
            assert str(path) in refused(DAMAGED, "restore", backup, "--to", tmp_path / "no")
            path.unlink()
            (tmp_path / "aside").rename(path)
    assert told("verify-backup", backup)["keys"] == 1
    assert not list(tmp_path.glob("nowthen-verify-backup-*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "one"],
        ["verify-backup"],
        ["restore", "one"],
        ["restore", "one", "--to", "two", "--to-lsn", "x"],
        ["restore", "one", "--to", "two", "--to-lsn", "-1"],
        ["restore", "one", "--to", "two", "--to-lsn", "1", "--to-time", "2020-01-01"],
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str]) -> None:
    ended = run_nowthen(*arguments)
    assert ended.returncode == 2 and "try '--help'" in ended.stderr


@pytest.mark.parametrize("verb", ["backup", "verify-backup", "restore"])
def test_help_has_an_example_and_the_exit_codes(verb: str) -> None:
    ended = run_nowthen(verb, "--help")
    assert ended.returncode == 0
    assert f"nowthen {verb} " in ended.stdout and "Exit codes: 0" in ended.stdout
