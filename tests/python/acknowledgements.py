"""The list of acknowledgements: what was sent and what was acknowledged, synced, outside the data
directory of the server that is killed.

```text
begins KEY COUNT     this is what a look at the server has shown
sent   KEY COUNT     synced before the bytes leave
acked  KEY COUNT     synced before the same writer sends anything more
```
Invariants
- The judge knows only what `read` finds in the file.
- A line is written by one call, so lines of several writers never mix.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Bounds:
    """A key holds a count from the last acknowledged to the last sent."""

    begun: int = 0
    acked: int = 0
    sent: int = 0


class AcknowledgementList:
    """A file that writers append to from several threads."""

    def __init__(self, path: Path, begins: dict[str, int]):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self.path = path
        self.file = os.open(path, flags, 0o600)
        self.note(("begins", key, count) for key, count in begins.items())

    def note(self, lines) -> None:
        """Appends lines, and returns once they are on the disk."""
        text = "".join(f"{what} {key} {count}\n" for what, key, count in lines)
        os.write(self.file, text.encode())
        os.fdatasync(self.file)

    def close(self) -> None:
        os.close(self.file)

    def read(self) -> dict[str, Bounds]:
        """What the file says of each key."""
        bounds: dict[str, Bounds] = {}
        for line in self.path.read_text().splitlines():
            what, key, text = line.split(" ")
            count = int(text)
            match what:
                case "begins":
                    bounds[key] = Bounds(count, count, count)
                case "sent":
                    bounds[key].sent = count
                case "acked":
                    bounds[key].acked = count
        return bounds
