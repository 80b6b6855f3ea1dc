"""Every crate we build with has a licence that deny.toml allows, and comes from crates.io.

Usage: cargo metadata --format-version 1 --locked | python3 tests/licences.py
Not here: advisories and duplicates (`cargo deny check`, for those who have it).
"""

import json
import re
import sys
import tomllib
from pathlib import Path

DENY_TOML = Path(__file__).parent.parent / "deny.toml"


def main() -> None:
    deny = tomllib.loads(DENY_TOML.read_text())
    licences = set(deny["licenses"]["allow"])
    sources = {f"registry+{url}" for url in deny["sources"]["allow-registry"]}
    packages = json.load(sys.stdin)["packages"]
    refused = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not is_allowed(package["license"] or "", licences):
            refused.append(f"{name}: licence {package['license']}")
        if package["source"] not in sources | {None}:  # None: one of our own
            refused.append(f"{name}: source {package['source']}")
    if refused:
        sys.exit("\n".join(refused))
    print(f"{len(packages)} crates have allowed licences and sources")


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met; `/` is an old way to say OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    terms = re.split(r"\b(and|or)\b|([()])", " ".join(python.get(word, word) for word in words))
    meant = [term.strip() for term in terms if term and term.strip()]
    holds = [term if term in python.values() else str(term in allowed) for term in meant]
    # What is left to evaluate are the words True, False, and, or, and brackets.
    return bool(holds) and eval(" ".join(holds), {"__builtins__": {}})


def check_myself() -> None:
    for expression, expected in {
        "MIT/Apache-2.0": True,
        "(MIT OR GPL-3.0) AND Zlib": True,
        "MIT AND GPL-3.0": False,
        "GPL-3.0 OR Apache-2.0 WITH LLVM-exception": False,
        "": False,
    }.items():
        assert is_allowed(expression, {"MIT", "Apache-2.0", "Zlib"}) == expected, expression


if __name__ == "__main__":
    check_myself()
    main()
