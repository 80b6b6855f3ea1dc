"""The files of what was pushed become few in the background, and nobody who reads notices."""

from __future__ import annotations

import time

from conftest import run_nowthen

DEFINITIONS = """
[entity.user]
join_keys = { user = "string" }
[view.spending]
entity = "user"
features = { spend = "float64", genre = "string" }
"""


def until(is_so, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def history(client, user: str) -> list:
    asked = ("FEATURES", 2, "spend", "genre")
    return client.execute_command("FS.HISTORY", f"user:{user}", *asked)


def test_files_of_the_history_become_few(start_nowthen):
    server = start_nowthen("--save", "")
    client = server.client()
    client.execute_command("FS.APPLY", DEFINITIONS)
    pushed = 0
    for number in range(12):
        for user in ("a", "b"):
            client.hset(f"user:{user}", mapping={"spend": number, "genre": f"genre {number}"})
        pushed += 1
        client.bgsave()
        until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
        assert len(history(client, "a")) == pushed
    until(lambda: client.info("persistence")["history_compactions"] >= 2)
    until(lambda: not client.info("persistence")["history_compaction_in_progress"])
    info = client.info("persistence")
    files = list((server.data / "history").iterdir())
    assert info["history_files"] == len(files) <= 7, files
    assert info["history_bytes"] == sum(file.stat().st_size for file in files)
    assert info["history_compactions_failed"] == 0
    before = {user: history(client, user) for user in ("a", "b")}
    assert all(len(writes) == pushed for writes in before.values())

    client.execute_command("FS.FORGET", "user:b")
    server.restart()
    client = server.client()
    assert history(client, "a") == before["a"] and history(client, "b") == []
    server.stop()
    checked = run_nowthen("verify", server.data)
    assert checked.returncode == 0, checked.stdout + checked.stderr
