"""The operator's tools on directories that a real server wrote: verify, inspect, FS.VERIFY.

Each damage is done to a copy with the means of an accident: a flipped bit, a cut, a lost file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from conftest import BINARY, Nowthen, run_nowthen

DEFINITIONS = """
[entity.user]
join_keys = { user_id = "string" }
[view.stats]
entity = "user"
[view.stats.features]
spend = "float64"
genre = "string"
"""
OK, FAILED, USAGE, DAMAGED = 0, 1, 2, 65


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The data directory of a server that took two snapshots and was stopped."""
    folder = tmp_path_factory.mktemp("written")
    repository = folder / "repository"
    repository.mkdir()
    (repository / "features.toml").write_text(DEFINITIONS)
    server = Nowthen(folder, repository, ("--save", "", "--shutdown-on-sigterm", "nosave"))
    server.start()
    try:
        client = server.client()
        for number in range(20):
            client.hset(f"user:{number}", mapping={"spend": number, "genre": "jazz"})
            client.set(f"plain:{number}", b"\x00\xff" * number)
            if number in (5, 10):
                client.save()
        client.hset("hash:1", mapping={"a": "1", "b": "two words"})
        assert server.stop() == 0
    finally:
        server.kill()
    return server.data


@pytest.fixture
def data(written, tmp_path) -> Path:
    """A copy of it, for whatever happens to it."""
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    return copy


def verify(data: Path) -> dict:
    """What `verify --json` tells; text and exit code tell the same."""
    before = contents(data)
    told = run_nowthen("verify", data, "--json")
    text = run_nowthen("verify", data)
    assert contents(data) == before, "verify changed something"
    report = json.loads(told.stdout)
    code = {"note": OK, "unread": FAILED, "damage": DAMAGED}[report["worst"]]
    assert (told.returncode, text.returncode) == (code, code), text.stderr
    assert text.stdout.endswith("all is well\n") == (report["worst"] == "note")
    for finding in report["findings"]:
        line = f"{finding['severity']}: {finding['file']} at byte {finding['offset']}: "
        assert line + finding["what"] in text.stdout
    return report


def contents(data: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and the time of its last change."""
    files = (path for path in data.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def segments(data: Path) -> list[Path]:
    """The segments of the log, oldest first."""
    return sorted((data / "log").glob("wal-*.log"))


def change(path: Path, how: Callable[[bytearray], None]) -> None:
    """Changes the bytes of a file."""
    content = bytearray(path.read_bytes())
    how(content)
    path.write_bytes(content)


def flip(offset: int) -> Callable[[bytearray], None]:
    """A bit of the byte there turns over."""

    def turn(content: bytearray) -> None:
        content[offset] ^= 0x10

    return turn


def damage(report: dict) -> list[dict]:
    """What is damaged."""
    return [found for found in report["findings"] if found["severity"] == "damage"]


def test_a_whole_directory_is_told_as_it_is(data):
    report = verify(data)
    assert report["worst"] == "note"
    assert report["findings"] == []
    newest, older = report["generations"]
    assert (newest["snapshot_id"], older["snapshot_id"]) == (2, 1)
    assert (newest["entries"], older["entries"]) == (22, 12)
    # The definitions, twenty users, twenty plain keys, one hash.
    assert (report["first_lsn"], report["last_lsn"], report["records"]) == (1, 42, 42)
    assert [segment["is_sealed"] for segment in report["segments"]] == [True]


def test_a_flipped_bit_in_the_log_costs_one_record_and_is_named(data):
    (segment,) = segments(data)
    third = 512 * 3  # each of these small records has a frame of one sector
    change(segment, flip(third + 80))
    report = verify(data)
    (found,) = damage(report)
    assert (found["file"], found["offset"]) == (str(segment), third)
    assert (found["first_lsn"], found["last_lsn"], report["records"]) == (3, 3, 41)


def test_several_accidents_are_all_told(data):
    (segment,) = segments(data)
    snapshots = sorted((data / "snapshots").iterdir())
    change(segment, flip(512 * 3 + 80))
    change(segment, flip(512 * 7 + 80))
    change(snapshots[0], flip(60))
    snapshots[-1].unlink()
    told = {(found["file"], found["offset"]) for found in damage(verify(data))}
    expected = {(snapshots[0], 56), (snapshots[-1], 0), (segment, 512 * 3), (segment, 512 * 7)}
    assert told == {(str(path), offset) for path, offset in expected}


def test_a_cut_segment_a_cut_snapshot_and_a_lost_manifest_are_damage(data):
    (segment,) = segments(data)
    change(segment, lambda content: content.__delitem__(slice(512 * 5, None)))
    (found,) = damage(verify(data))
    assert (found["file"], found["offset"]) == (str(segment), 512 * 5)
    assert (found["first_lsn"], found["last_lsn"]) == (5, 23), "the second snapshot proves these"
    snapshot = sorted((data / "snapshots").iterdir())[0]
    # How long it is depends on the rows that hash to it: there may be none.
    change(snapshot, lambda content: content.__delitem__(slice(len(content) // 2, None)))
    assert any(found["file"] == str(snapshot) for found in damage(verify(data)))
    (manifest,) = data.glob("MANIFEST-*")
    manifest.unlink()
    assert any("a manifest; it is missing" in found["what"] for found in damage(verify(data)))


def test_a_torn_tail_is_told_and_is_no_damage(start_nowthen):
    server = start_nowthen()
    server.client().set("a", "1")
    server.kill()
    (segment,) = segments(server.data)
    change(segment, lambda content: content.__setitem__(slice(1024, 1028), b"NTwf"))
    report = verify(server.data)
    (found,) = report["findings"]
    assert report["worst"] == "note" and found["what"].startswith("a torn tail of 4 bytes")
    server.start()
    assert server.client().get("a") == b"1"


def test_a_directory_in_use_is_refused(start_nowthen):
    server = start_nowthen()
    refused = run_nowthen("verify", server.data)
    assert refused.returncode == FAILED
    assert "is in use by a server; ask that with FS.VERIFY" in refused.stderr


def test_a_running_server_verifies_itself_while_it_writes_and_takes_snapshots(start_nowthen):
    server = start_nowthen(definitions=DEFINITIONS)
    client = server.client()
    ends = threading.Event()

    def work() -> None:
        writer = server.client()
        number = 0
        while not ends.is_set():
            number += 1
            writer.hset(f"user:{number % 50}", mapping={"spend": number, "genre": "jazz"})
            if number % 100 == 0:
                writer.save()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        reports = [fs_verify(client)]
        while len(reports) < 30 or reports[-1]["last_lsn"] < 350:  # three snapshots later
            reports.append(fs_verify(client))
    finally:
        ends.set()
        worker.join()
    assert all(report["findings"] == [] for report in reports)
    assert all(report["worst"] == "note" for report in reports)
    lasts = [report["last_lsn"] for report in reports]
    assert lasts == sorted(lasts) and lasts[0] > 0


def test_a_running_server_tells_of_damage_below_it_and_serves_on(start_nowthen):
    server = start_nowthen(definitions=DEFINITIONS)
    client = server.client()
    for number in range(9):
        client.set(f"plain:{number}", number)
    client.save()
    (segment,) = segments(server.data)
    in_place(segment, 512 * 4 + 80)
    snapshot = sorted((server.data / "snapshots").iterdir())[-2]
    in_place(snapshot, 60)
    report = fs_verify(client)
    told = [(found["file"], found["offset"], found["first_lsn"]) for found in report["findings"]]
    assert report["worst"] == "damage"
    assert told == [(str(snapshot), 56, 1), (str(segment), 512 * 4, 4)]
    assert client.get("plain:3") == b"3"


def fs_verify(client: redis.Redis) -> dict:
    """The reply of FS.VERIFY as text and numbers."""

    def plain(reply):
        match reply:
            case bytes():
                return reply.decode()
            case list():
                return [plain(item) for item in reply]
            case dict():
                return {plain(name): plain(value) for name, value in reply.items()}
        return reply

    return plain(client.execute_command("FS.VERIFY"))


def in_place(path: Path, offset: int) -> None:
    """Flips a bit of a file that a server has open."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def test_what_is_no_store_is_refused_and_usage_is_usage(tmp_path):
    assert run_nowthen("verify", tmp_path / "none").returncode == FAILED
    empty = run_nowthen("verify", tmp_path)
    assert (empty.returncode, list(tmp_path.iterdir())) == (FAILED, [])
    assert "holds no store" in empty.stderr
    assert run_nowthen("verify").returncode == USAGE
    assert "Example: nowthen verify ./data" in run_nowthen("verify", "--help").stdout


def test_a_copy_without_a_lock_file_gets_none(data):
    (data / "LOCK").unlink()
    assert verify(data)["worst"] == "note"
    assert not (data / "LOCK").exists()


def inspect(*arguments: str | Path) -> list[list[str]]:
    """The columns of each line that tells of a record or an entry."""
    told = run_nowthen("inspect", *arguments)
    assert told.returncode == OK, told.stderr
    return [line.split("\t") for line in told.stdout.splitlines() if not line.startswith("#")]


def test_a_segment_is_shown_record_by_record(data):
    (segment,) = segments(data)
    text = run_nowthen("inspect", segment).stdout.splitlines()
    assert text[0].startswith("# segment ") and " first_lsn=1 " in text[0]
    assert text[-1].startswith("# footer ") and " last_lsn=42 " in text[-1] + " "
    lines = inspect(segment)
    assert [line[1] for line in lines] == [str(lsn) for lsn in range(1, 43)]
    assert [line[0] for line in lines] == [str(512 * (1 + number)) for number in range(42)]
    assert lines[0][3:5] == ["apply", "-"]
    # Fields of one command are cells of one view with one stamp.
    assert lines[1][3:5] == ["cells", '"user:0"']
    assert lines[1][5].startswith("view=stats generation=1 event=")
    assert lines[1][5].endswith('origin=pushed "spend"="0" "genre"="jazz"')
    assert lines[4][3:6] == ["set", '"plain:1"', r'"value"="\x00\xff"']
    assert lines[41][4:6] == ['"hash:1"', '"a"="1" "b"="two words"']


def test_what_is_shown_can_be_chosen_by_key_and_lsn(data):
    (segment,) = segments(data)
    assert [line[1] for line in inspect(segment, "--key", "user:3")] == ["8"]
    chosen = inspect(segment, "--from-lsn", "5", "--to-lsn", "7")
    assert [line[1] for line in chosen] == ["5", "6", "7"]
    assert inspect(segment, "--key", "user:3", "--from-lsn", "9") == []
    # A row says which record wrote it.
    rows = [line for file in (data / "snapshots").iterdir() for line in inspect(file, "--key", "user:3")]
    assert [row[1] for row in rows] == ["8", "8"], "one in each snapshot"
    assert '"stats:spend"="3" at ' in rows[0][5] and rows[0][3] == "entity"


def test_a_directory_is_shown_file_by_file(data):
    text = run_nowthen("inspect", data).stdout.splitlines()
    files = [line for line in text if line.startswith(f"# {data}")]
    assert len(files) == 1 + 2 * 9 + 1
    assert files == sorted(files, key=lambda line: ("MANIFEST" not in line, "/log/" in line, line))
    manifest = run_nowthen("inspect", next(data.glob("MANIFEST-*"))).stdout.splitlines()
    assert manifest[0].startswith("# manifest number=3 ")
    assert sum(line.startswith("# generation ") for line in manifest) == 2


def test_inspect_speaks_json_a_line_at_a_time(data):
    (segment,) = segments(data)
    told = run_nowthen("inspect", segment, "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["piece"] for line in lines] == ["segment", *["record"] * 42, "footer"]
    plain = lines[5]
    assert (plain["lsn"], plain["offset"], plain["key"]) == (5, 512 * 5, "plain:1")
    assert plain["fields"] == [{"name": "value", "value": r'"\x00\xff"'}]


def test_inspect_names_the_damage_and_goes_on_behind_it(data):
    (segment,) = segments(data)
    change(segment, flip(512 * 3 + 80))
    told = run_nowthen("inspect", segment)
    assert told.returncode == DAMAGED
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("# damage ")]
    assert f"offset={512 * 3}" in line and "a payload with valid checksums" in line
    lsns = [line.split("\t")[1] for line in told.stdout.splitlines() if line[0] != "#"]
    assert lsns == ["1", "2", *(str(lsn) for lsn in range(4, 43))]
    change(segment, flip(8))
    assert run_nowthen("inspect", segment).returncode == DAMAGED
    snapshot = sorted((data / "snapshots").iterdir())[0]
    change(snapshot, flip(80))
    assert run_nowthen("inspect", snapshot).returncode == DAMAGED


def test_whoever_reads_may_stop_and_other_files_are_refused(data, tmp_path):
    command = f"{BINARY} inspect {data} | head -1; echo ${{PIPESTATUS[0]}}"
    head = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert head.stderr == "" and head.stdout.splitlines()[-1] == "0"
    (tmp_path / "text").write_text("no file of a store")
    refused = run_nowthen("inspect", tmp_path / "text")
    assert refused.returncode == FAILED and "is no file of nowthen" in refused.stderr
    assert run_nowthen("inspect", tmp_path / "none").returncode == FAILED
    assert run_nowthen("inspect").returncode == USAGE
