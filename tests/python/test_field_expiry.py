"""Expiry of hash fields, which Debian's Redis does not have: compared with a newer redis-server.

    recorded replies of Redis 8 --> the same commands to nowthen --> compared      (always)
    random sessions --> nowthen and NEWER_REDIS=<redis-server> --> compared        (by command)

The second one, where a newer redis-server was built:
    NEWER_REDIS=~/redis-8.0.2/src/redis-server pytest tests/python/test_field_expiry.py
NOWTHEN_DIFFERENTIAL_COMMANDS and _SEED choose how many commands, and where to begin.

Not here: the grammar (`field_grammar.py`), how replies are recorded (`recorded_replies.py`).
"""

from __future__ import annotations

import os

import pytest
from differential import Connection, Judge, Session
from field_grammar import FieldGrammar
from recorded_replies import frame, newer_redis, read, recorded

COMMANDS = int(os.environ.get("NOWTHEN_DIFFERENTIAL_COMMANDS", "100000"))
FIRST_SEED = int(os.environ.get("NOWTHEN_DIFFERENTIAL_SEED", "1"))
SESSION_COMMANDS = 100
NEWER_REDIS = os.environ.get("NEWER_REDIS")


def test_recorded_replies_of_redis_8_are_ours(start_nowthen):
    compare_with_recording(start_nowthen("--durability", "never").port)


def compare_with_recording(port: int) -> None:
    for number, session in enumerate(recorded()["sessions"]):
        connection = Connection(port, session["resp"])
        connection.ask([[b"FLUSHALL"]])
        lines = session["replies"]
        commands = [read(line) for line in lines[::2]]
        judge = Judge(is_live=False)
        answers = zip(commands, connection.ask(commands), lines[1::2], strict=True)
        for place, (command, ours, text) in enumerate(answers):
            theirs = frame(text)
            assert judge.comparable(command, ours) == judge.comparable(command, theirs), (
                f"session {number}, {lines[2 * place]}\nnow:      {ours.raw!r}\n"
                f"recorded: {theirs.raw!r}\nbefore it: {lines[: 2 * place : 2]}"
            )
        connection.close()


@pytest.mark.skipif(not NEWER_REDIS, reason="NEWER_REDIS names no redis-server")
def test_random_sessions_are_answered_as_by_a_newer_redis(start_nowthen, tmp_path):
    with newer_redis(NEWER_REDIS, tmp_path) as server:
        # The recording is as good as the server that it was made with.
        compare_with_recording(server.port)
        ports = [start_nowthen("--durability", "never").port, server.port]
        for seed in range(FIRST_SEED, FIRST_SEED + max(1, COMMANDS // SESSION_COMMANDS)):
            replay = f"NEWER_REDIS={NEWER_REDIS} NOWTHEN_DIFFERENTIAL_SEED={seed}"
            replay += " NOWTHEN_DIFFERENTIAL_COMMANDS=1 pytest tests/python/test_field_expiry.py"
            Session(seed, ports, FieldGrammar(seed), replay).run(SESSION_COMMANDS)
