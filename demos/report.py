"""What all demos share: the machine-readable table and a clock."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from kkt_ref.files import write_atomically


class Clock:
    """Prints what is being done, with the seconds since the start."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self.start

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"[{self.seconds:5.1f} s] {text}", flush=True)


def write_json(path: Path | None, table: dict[str, Any]) -> None:
    """Write the table, whole or not at all; nothing is done for None."""
    if path is not None:
        with write_atomically(path) as file:
            file.write((json.dumps(table, indent=2) + "\n").encode())
