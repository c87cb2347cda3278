"""The options that the studies on images share, and how they begin."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from report import add_outputs, seed_number

from kkt_ref._io import claim, forget
from kkt_ref.datasets.images import ImageSet, default_images


def study_parser(
    name: str, what: str, *, figure: bool = True, attack: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the options that all studies have."""
    parser = argparse.ArgumentParser(description=what)
    add = parser.add_argument
    add("--images", choices=("mnist", "cifar10"), default="mnist", help="which images to use")
    add("--seed", type=seed_number, default=0, help="seed of network and attack")
    add("--quick", action="store_true", help="a small and short run, to see that it works")
    add("--out", type=Path, default=Path(f"{name}_run"), help="folder for the state of the run")
    if attack:
        add("--restarts", type=int, default=16, help="number of random starts of the attack")
    add_outputs(parser, f"{name}.png" if figure else None)
    return parser


def fresh_folder(folder: Path, settings: dict[str, Any]) -> Path:
    """Claim a folder for a new run; end with a message if another process uses it."""
    try:
        forget(folder)
        return claim(folder, settings)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def read_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> tuple[argparse.Namespace, ImageSet, bool]:
    """Return the options, the images, and whether the run has to be small."""
    options = parser.parse_args(arguments)
    try:
        images = default_images(options.images)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    embedded = images.source.startswith("embedded")
    return options, images, options.quick or (options.images == "cifar10" and embedded)
