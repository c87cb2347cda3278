"""What all demos share: the machine-readable table, a clock, a progress bar, options."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from kkt_ref._io import write_atomically


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


class Bar:
    """A progress bar with the time left: on one line in a terminal, else now and then a line."""

    def __init__(self, what: str) -> None:
        self.what, self.begin, self.last = what, time.perf_counter(), -1e9
        self.start: float | None = None  # fraction at the first call: not 0 if resumed

    def show(self, fraction: float, note: str = "") -> None:
        """Show how much is done, 0 to 1."""
        fraction, now = min(max(fraction, 0.0), 1.0), time.perf_counter()
        self.start = fraction if self.start is None else self.start
        terminal, ended = sys.stdout.isatty(), fraction >= 1.0
        if now - self.last < (0.2 if terminal else 15.0) and not ended:
            return
        self.last = now
        gained = fraction - self.start
        left = (now - self.begin) * (1 - fraction) / gained if gained > 0 else 0.0
        until = f"  {left:.0f} s left" if left > 0 else ""
        filled = round(30 * fraction)
        bar = "#" * filled + "." * (30 - filled)
        line = f"{self.what} [{bar}] {100 * fraction:3.0f}%{until}  {note}"
        if terminal:
            print(f"\r{line}\x1b[K", end="\n" if ended else "", flush=True)
        else:
            print(line, flush=True)


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a message, before any work, if a file cannot be written or the seed is off."""
    for path in (getattr(options, "save", None), options.json):
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"{path}: its folder does not exist; create it first")
    if options.seed < 0:
        parser.error(f"--seed: expected an integer >= 0, got {options.seed}")


def write_json(path: Path | None, table: dict[str, Any]) -> None:
    """Write the table, whole or not at all; nothing is done for None."""
    if path is not None:
        with write_atomically(path) as file:
            file.write((json.dumps(table, indent=2) + "\n").encode())
