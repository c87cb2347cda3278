"""What all demos share: their common options, a clock, progress, and the table for machines."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from kkt_ref._io import write_atomically

PICTURES = (".png", ".pdf", ".svg")


def _path(text: str, suffixes: tuple[str, ...]) -> Path:
    """The path, if a file with one of these suffixes can be written there."""
    path = Path(text)
    if path.suffix not in suffixes:
        expected = ", ".join(suffixes)
        raise argparse.ArgumentTypeError(f"{text}: expected a name that ends in {expected}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: expected a file, but this is a folder")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist; create it first")
    return path


def picture_path(text: str) -> Path:
    """Type of an option that names a picture."""
    return _path(text, PICTURES)


def json_path(text: str) -> Path:
    """Type of an option that names a JSON file."""
    return _path(text, (".json",))


def page_path(text: str) -> Path:
    """Type of an option that names a web page."""
    return _path(text, (".html",))


def seed_number(text: str) -> int:
    """Type of the option `--seed`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected an integer >= 0")
    return int(text)


def add_outputs(parser: argparse.ArgumentParser, picture: str | None) -> None:
    """Add `--json` and, if the demo draws a picture, `--save` with this default.

    Both are checked while the options are read: a name with another suffix, or in a folder
    that does not exist, ends the program with exit status 2 before any work is done.
    """
    if picture is not None:
        parser.add_argument(
            "--save", type=picture_path, default=picture, help=f"the picture (default: {picture})"
        )
    parser.add_argument("--json", type=json_path, help="also write the numbers to this JSON file")


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


class Progress:
    """The progress of a long task: a bar if tqdm is installed, otherwise a line now and then."""

    def __init__(self, task: str) -> None:
        self.task, self.bar, self.last = task, None, 0.0

    def show(self, fraction: float, note: str = "") -> None:
        """Show that this fraction of the task, between 0 and 1, is done."""
        fraction = min(max(fraction, 0.0), 1.0)
        try:
            from tqdm import tqdm
        except ImportError:
            self._print(fraction, note)
            return
        if self.bar is None:  # a resumed task begins at this fraction, not at 0
            self.bar = tqdm(
                desc=self.task,
                total=1.0,
                initial=fraction,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {remaining} left{postfix}",
                mininterval=0.2 if sys.stderr.isatty() else 15.0,
            )
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(fraction - self.bar.n)
        if fraction == 1.0:
            self.bar.close()

    def _print(self, fraction: float, note: str) -> None:
        now = time.perf_counter()
        if fraction == 1.0 or now - self.last > 5.0:
            self.last = now
            print(f"{self.task}: {100 * fraction:3.0f}% done  {note}", flush=True)


def write_json(path: Path | None, table: Any) -> None:
    """Write the table to this file, or do nothing if there is none."""
    if path is not None:
        with write_atomically(path) as file:
            file.write((json.dumps(table, indent=2) + "\n").encode())
