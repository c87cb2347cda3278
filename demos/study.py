"""Options that the studies on images share: margin, baselines, search."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from report import add_outputs, seed_number

from kkt_ref._io import OtherRunError, claim, forget
from kkt_ref.datasets.images import ImageSet, MissingDataError, default_images


def study_parser(
    name: str, what: str, *, figure: bool = True, attack: bool = True
) -> argparse.ArgumentParser:
    """A parser with the options that all studies have."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--images", choices=("mnist", "cifar10"), default="mnist")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(f"{name}_run"), help="state of the run")
    if attack:
        parser.add_argument("--restarts", type=int, default=16)
    add_outputs(parser, f"{name}.png" if figure else None)
    return parser


def fresh_folder(folder: Path, settings: dict[str, Any]) -> Path:
    """Claim a folder for a new run; end with a message if another process has it."""
    try:
        forget(folder)
        return claim(folder, settings)
    except (OtherRunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def read_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> tuple[argparse.Namespace, ImageSet, bool]:
    """The options, the images, and whether these, or the time, are few."""
    options = parser.parse_args(arguments)
    try:
        images = default_images(options.images)
    except (MissingDataError, OSError, ValueError) as error:
        parser.error(str(error))
    embedded = images.source.startswith("embedded")
    return options, images, options.quick or (options.images == "cifar10" and embedded)
