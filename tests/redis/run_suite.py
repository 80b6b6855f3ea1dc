#!/usr/bin/env python3
"""Runs Redis' own tests (its Tcl suite, in external mode) against nowthen, and writes a table.

    checkout of redis --> scratch copy of its tests, harness eased --> per unit: a fresh nowthen
                      --> runtest --host --port --> each test: passed, failed, skipped, why
                      --> tests/redis/README.md

Usage, where checkouts of Redis exist (nothing of them has to be compiled, nothing is kept here):
    .venv/bin/python tests/redis/run_suite.py ~/redis-7.0.15 [--newer ~/redis-8.0.2] \
        [--binary PATH] [--write]

What is eased in the copy, since the server is no Redis and has no scripts:
- the harness does not empty functions and scripts (`FUNCTION FLUSH`, `SCRIPT FLUSH`);
- a setting that nowthen has not is no reason to leave out all tests behind it;
- files in `UNFENCED` run, though the suite keeps them from servers that it did not start.

Invariants
- The copy of the suite is otherwise as it was; no text of it is kept in this repository, but names.
- A test is left out by the suite's own tags, or named in `cannot_apply.toml` with a reason, or it
  ran into a command that stands there as no part of the product.
- Exit code 1 if any other test failed.

Not here: how to have a checkout; tests of replication, persistence files, modules and cluster.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from conftest import BINARY, Nowthen, free_ports  # noqa: E402

UNITS = ["type/hash", "type/string", "type/incr", "expire", "scan", "protocol", "keyspace"]
UNITS += ["multi", "auth", "introspection", "introspection-2", "limits", "info"]
UNITS += ["info-command", "latency-monitor", "slowlog", "other", "quit", "querybuf", "maxmemory"]
UNITS_OF_NEWER = ["type/hash-field-expire"]
UNFENCED = ["unit/auth", "unit/info", "unit/limits", "unit/type/hash-field-expire"]
# Tags of the suite for tests of what a product without replicas, dumps and DEBUG has not.
DENIED_TAGS = ["needs:debug", "needs:repl", "needs:save", "needs:pfdebug", "large-memory"]
# Lines of the harness, and what stands in the copy instead.
EASED = [
    (r"^( *)r (function|script) flush$", r"\1# no scripts"),
    (r"^( *)(r config set \$param \$val)$", r"\1catch {\2}"),
]
# The same for the tests: how Redis keeps small values, and when it looks for ended ones, is not
# for nowthen to set, and clients do not see it.
EASED_IN_UNIT = [
    (r"^( *)((?:r config set|config_set) (hash|list|set|zset)-max-\S+ \S+)$", r"\1catch {\2}"),
    (r"^( *)(r debug set-active-expire \S+)$", r"\1catch {\2}"),
]
FENCE = [(r"^start_server {tags {\"external:skip needs:debug\"}}", "start_server {}")]
FENCE += [(r"external:skip", "")]
UNIT_SECONDS_MAX = 300


@dataclass
class Unit:
    """What one file of the suite said."""

    name: str
    source: str
    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    # Name of a test, and why it cannot apply.
    cannot: dict[str, str] = field(default_factory=dict)
    end: str = ""

    @property
    def is_good(self) -> bool:
        return not self.failed and not self.end


def main() -> int:
    arguments = parsed()
    units = [(arguments.checkout, name) for name in arguments.unit or UNITS]
    if arguments.newer and not arguments.unit:
        units += [(arguments.newer, name) for name in UNITS_OF_NEWER]
    done = []
    for checkout, name in units:
        with tempfile.TemporaryDirectory(prefix="nowthen_suite_") as scratch:
            unit = run_unit(Path(scratch), checkout, name, arguments)
        print(summary(unit), flush=True)
        done.append(unit)
    if arguments.write:
        (HERE / "README.md").write_text(document(done))
    return 0 if all(unit.is_good for unit in done) else 1


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Redis' own tests against nowthen")
    parser.add_argument("checkout", type=Path, help="a checkout of redis, the version we follow")
    parser.add_argument("--newer", type=Path, help="a checkout of Redis 8, for field expiry")
    parser.add_argument("--binary", type=Path, default=BINARY, help="nowthen, or a redis-server")
    parser.add_argument("--unit", action="append", help="only this one; may be given again")
    parser.add_argument("--write", action="store_true", help="write tests/redis/README.md")
    return parser.parse_args()


# --- one unit


def run_unit(scratch: Path, checkout: Path, name: str, arguments: argparse.Namespace) -> Unit:
    suite = scratch / "suite"
    unit = Unit(f"unit/{name}", version_of(checkout))
    copy_suite(checkout, suite, unit.name)
    rules = Rules(unit.name)
    skip_file = scratch / "skip"
    skip_file.write_text("\n".join(rules.tests))
    server = Nowthen(scratch, None, ("--durability", "never"))
    server.command[0] = str(arguments.binary)
    if "redis" in arguments.binary.name:
        # The suite against what it was written for: that the harness as eased here is sound.
        server.command[1:] = ["--port", str(server.port), "--dir", str(scratch), "--save", ""]
    server.start()
    try:
        output = run_harness(suite, unit.name, server.port, skip_file)
    finally:
        server.kill()
    return told(unit, output, rules)


def copy_suite(checkout: Path, suite: Path, unit: str) -> None:
    shutil.copytree(checkout / "tests", suite / "tests", ignore=shutil.ignore_patterns("tmp"))
    (suite / "tests" / "tmp").mkdir()
    (suite / "src").mkdir()
    for program in ("redis-cli", "redis-benchmark"):
        (suite / "src" / program).symlink_to(shutil.which(program) or "/nonexistent")
    harness = suite / "tests" / "support" / "server.tcl"
    assert ease(harness, EASED) >= len(EASED), "the harness is not as it was known"
    source = suite / "tests" / f"{unit}.tcl"
    ease(source, EASED_IN_UNIT)
    if unit in UNFENCED:
        ease(source, FENCE)


def ease(path: Path, replacements: list[tuple[str, str]]) -> int:
    """How many places changed."""
    text, changed = path.read_text(), 0
    for line, instead in replacements:
        text, count = re.subn(line, instead, text, flags=re.MULTILINE)
        changed += count
    path.write_text(text)
    return changed


def version_of(checkout: Path) -> str:
    text = (checkout / "src" / "version.h").read_text()
    (version,) = re.findall(r'REDIS_VERSION "([^"]+)"', text)
    return version


class Rules:
    """What `cannot_apply.toml` says of a unit."""

    def __init__(self, unit: str):
        rules = tomllib.loads((HERE / "cannot_apply.toml").read_text())
        families = rules["commands"].items()
        self.commands = {name: reason for reason, names in families for name in names.split()}
        own = [group for group in rules["group"] if group["unit"] == unit]
        self.tests = {name: group["reason"] for group in own for name in group["tests"]}

    def why_left_out(self, test: str) -> str:
        for pattern, reason in self.tests.items():
            if test == pattern or (pattern[0] == "/" and re.search(pattern[1:], test)):
                return reason
        return "no reason was found"

    def why_it_ended(self, message: str) -> str | None:
        """The reason, if a test failed for a command that is no part of the product."""
        found = re.search(r"unknown command '(\w+)'", message)
        return self.commands.get(found[1].lower()) if found else None


def run_harness(suite: Path, unit: str, port: int, skip_file: Path) -> str:
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--singledb", "--ignore-encoding", "--ignore-digest", "--durable"]
    command += ["--clients", "1", "--single", unit, "--skipfile", str(skip_file)]
    command += ["--timeout", str(UNIT_SECONDS_MAX // 2)]
    # The harness listens a little below; two of them may run at a time.
    command += ["--baseport", str(free_ports(1)[0])]
    command += ["--tags", " ".join(f"-{tag}" for tag in DENIED_TAGS)]
    # The harness is a server and a client of its own: all of the group ends together.
    process = subprocess.Popen(
        command,
        cwd=suite,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    try:
        output, _ = process.communicate(timeout=UNIT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        output += b"\n[exception]: no end within the time"
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode(errors="replace"))


# --- what it said


def told(unit: Unit, output: str, rules: Rules) -> Unit:
    """Reads the lines of the harness: `[ok]: name`, `[err]: name in file` and its message."""
    output = output.partition("The End")[0]
    parts = re.split(r"^\[(ok|err|skip|ignore|exception|[0-9/]+ done)\]: ", output, flags=re.M)
    for status, text in zip(parts[1::2], parts[2::2], strict=True):
        first, _, rest = text.partition("\n")
        if status == "ok":
            unit.passed.append(re.sub(r" \(\d+ ms\)$", "", first))
        elif status == "err":
            note_failure(unit, first, rest, rules)
        elif status == "skip":
            unit.cannot[first] = rules.why_left_out(first)
        elif status == "ignore":
            unit.skipped[first] += 1
        elif status == "exception":
            unit.end = text[:300]
    if " done]" not in output and not unit.end:
        unit.end = output[-300:]
    return unit


def note_failure(unit: Unit, first: str, rest: str, rules: Rules) -> None:
    name, separator, _ = first.partition(f" in tests/{unit.name}.tcl")
    if not separator:
        # An error between tests: what stands behind it in its block was not run.
        name, rest = "(outside of a test)", f"{first}\n{rest}"
    reason = rules.tests.get(name) or (rules.why_it_ended(rest) if separator else None)
    if reason:
        unit.cannot[name] = reason
        return
    # What Tcl was doing stands below the message, whose begin the harness cuts off.
    message = rest.partition("while executing")[0]
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    unit.failed[name] = " ".join(lines[-1:] if len(lines) == 2 else lines)[:400]


def summary(unit: Unit) -> str:
    counts = f"{len(unit.passed)} passed, {len(unit.failed)} failed"
    counts += f", {len(unit.cannot)} cannot apply, {unit.skipped.total()} skipped by tags"
    lines = [f"{unit.name} ({unit.source}): {counts}"]
    lines += [f"  FAILED {name}: {message}" for name, message in unit.failed.items()]
    return "\n".join(lines + ([f"  ENDED {unit.end}"] if unit.end else []))


# --- the document


def document(units: list[Unit]) -> str:
    lines = ["# Redis' own tests against nowthen", ""]
    lines += ["Written by `tests/redis/run_suite.py`, which tells how to run it; not by hand."]
    lines += ["Names are those of Redis' suite. `cannot_apply.toml` has what cannot apply."]
    lines += ["", "| unit | of Redis | passed | failed | cannot apply | skipped by its own tags |"]
    lines += ["|---|---|---|---|---|---|"]
    for unit in units:
        counts = [len(unit.passed), len(unit.failed), len(unit.cannot), unit.skipped.total()]
        cells = [unit.name, unit.source, *map(str, counts)]
        lines.append(f"| {' | '.join(cells)} |")
    for title, tests in sections(units):
        lines += ["", f"## {title}", *tests]
    return "\n".join(lines) + "\n"


def sections(units: list[Unit]) -> list[tuple[str, list[str]]]:
    failed, cannot, passed = [], [], []
    for unit in units:
        failed += [f"- {unit.name}: {escaped(name)}: `{why}`" for name, why in unit.failed.items()]
        for reason in sorted(set(unit.cannot.values())):
            names = [name for name, why in unit.cannot.items() if why == reason]
            cannot += [f"- {unit.name}, {reason}: {escaped('; '.join(names))}"]
        passed += [f"- {unit.name}: {escaped('; '.join(unit.passed))}"]
    return [("Failed", failed or ["None."]), ("Cannot apply", cannot), ("Passed", passed)]


def escaped(text: str) -> str:
    return re.sub(r"([*_<>|`\[\]])", r"\\\1", text)


if __name__ == "__main__":
    sys.exit(main())
