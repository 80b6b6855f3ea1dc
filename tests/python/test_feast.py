"""Feast with its stock Redis online store, unchanged, answers from nowthen as it does from Redis.

Invariants
- Each step is what a user of Feast runs: apply, materialize, push, get_online_features, teardown.
- Both servers see the same definitions, files and commands, and both are empty afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import ROOT, TARGET, Server

PROGRAMS = ROOT / "tests" / "clients" / "feast"
# What `./check` installs.
FEAST = TARGET / "clients" / "feast" / "bin"
STORE = """
project: shop
registry: registry.db
provider: local
offline_store: {type: file}
online_store: {type: redis, connection_string: "127.0.0.1:%d"}
entity_key_serialization_version: 3
"""
DRIVERS, ROUTES = 500, 3


def test_feast_answers_from_nowthen_as_from_redis(nowthen, redis_server, tmp_path):
    redis_server.client().flushall()
    files = tmp_path / "files"
    files.mkdir()
    run(files, FEAST / "python", PROGRAMS / "files.py")
    with ThreadPoolExecutor() as both:
        answers, expected = both.map(lambda server: online(server, files), [nowthen, redis_server])
    assert answers == expected
    assert answers["pushed"]["trips_today"] == [77, 4, 1000, None]
    assert answers["materialized"]["name"] == ["Ünal 1", "Ünal 2", "Ünal 500", None]
    assert answers["routes"]["minutes"] == [95.5, 0.0, 1.5, None]
    assert len(answers["many"]["driver_id"]) == DRIVERS


def online(server: Server, files: Path) -> dict:
    """A whole life of a repository; gives what it answered."""
    folder = files.parent / f"repository_{server.port}"
    shutil.copytree(files, folder)
    shutil.copy(PROGRAMS / "features.py", folder)
    (folder / "feature_store.yaml").write_text(STORE % server.port)
    client = server.client()

    run(folder, FEAST / "feast", "apply")
    assert client.dbsize() == 0
    run(folder, FEAST / "feast", "materialize", "2026-04-01T00:00:00", "2026-05-03T00:00:00")
    assert client.dbsize() == DRIVERS + ROUTES
    answers = run(folder, FEAST / "python", PROGRAMS / "online.py")
    run(folder, FEAST / "feast", "teardown")
    assert client.dbsize() == 0
    return json.loads(answers)


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "FEAST_USAGE": "False"},
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
