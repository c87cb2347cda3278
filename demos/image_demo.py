"""Command line of the image demos."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from image_run import ATTACKS, Outcome, Settings, run
from plot_images import draw
from report import add_outputs, seed_number, write_json

from kkt_ref._io import OtherRunError, claim, forget
from kkt_ref.attacks.pooling import distinct
from kkt_ref.datasets.download import DownloadError, download_images
from kkt_ref.datasets.images import default_images


def parse(
    name: str, what: str, arguments: list[str] | None
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the options."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--n", type=int, help="training images, half of each class")
    parser.add_argument("--width", type=int, default=1000, help="neurons of each hidden layer")
    parser.add_argument("--depth", type=int, default=3, help="layers, the output's included")
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of network and attack")
    parser.add_argument("--restarts", type=int, help="starts of the attack")
    parser.add_argument("--attack", choices=tuple(ATTACKS), default="first-layer")
    parser.add_argument("--full", action="store_true", help="n = 500, the paper's network")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    parser.add_argument("--data", type=Path, help="folder with the official files")
    parser.add_argument("--download", action="store_true", help="fetch the official files first")
    parser.add_argument("--out", type=Path, default=Path(f"{name}_run"), help="state of the run")
    parser.add_argument("--resume", action="store_true", help="go on where a run was stopped")
    add_outputs(parser, f"{name}.png")
    options = parser.parse_args(arguments)
    if options.depth < 2 or options.width < 1:
        parser.error("expected --depth of at least 2 and --width of at least 1")
    if options.restarts is not None and options.restarts < 2:
        parser.error(f"--restarts: expected at least 2, got {options.restarts}")
    return parser, options


def main(name: str, what: str, defaults: dict[str, int], arguments: list[str] | None = None) -> Any:
    """Run the demo and return its table."""
    parser, options = parse(name, what, arguments)
    try:
        if options.download:
            download_images(name, progress=True)
        images = default_images(name, options.data)
    except (DownloadError, ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    embedded = images.source.startswith("embedded")
    n = 500 if options.full else defaults["embedded" if embedded else "official"]
    n, width = options.n or n, options.width
    restarts = options.restarts or (defaults["full"] if options.full else defaults["restarts"])
    if options.quick:
        n, width, restarts = min(n, 10), 200, 4
    source = images.source if embedded else "official files"
    settings = Settings(name, source, n, width, options.depth, options.seed, options.attack)

    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        if not options.resume:
            forget(options.out)
        folder = claim(options.out, settings._asdict())
        print(f"{name}: {n} images from {images.source}, network of width {width}", flush=True)
        outcome = run(images, settings, folder, restarts)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command with --resume goes on from {options.out}", flush=True)
        sys.exit(130)
    except (OtherRunError, ValueError, OSError) as error:
        parser.error(str(error))
    print_table(outcome)
    title = f"{name}, n = {n}: best reconstructions from the weights alone, above what they match"
    draw(outcome.split, outcome.found.candidates, distinct(outcome.found), title, options.save)
    print(f"figure: {options.save}")
    write_json(options.json, outcome.table)
    return outcome.table


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def print_table(outcome: Outcome) -> None:
    """Print what was trained, how near to KKT it is, and what came back."""
    table, trained = outcome.table, outcome.table["train"]
    kkt, scores = table["kkt"], table["scores"]
    print(
        f"\ntraining: {trained['steps']} steps, loss {trained['loss']:.1e}, "
        f"train error {trained['train_error']:.1%}, test error {trained['test_error']:.1%} "
        f"on {trained['test_images']} images, margins {trained['margin_min']:.1f} to "
        f"{trained['margin_max']:.1f}, {trained['seconds']:.0f} s"
    )
    layers = ", ".join(f"{r:.2f}" for r in kkt["stationarity_by_layer"])
    print("KKT conditions on the true data (violations; 0 is satisfied)")
    print(f"  stationarity, relative   {kkt['stationarity']:.3f}   by layer {layers}")
    print(f"  dual feasibility         {kkt['dual_feasibility']:.3f}")
    print(f"  complementary slackness  {kkt['complementary_slackness']:.3f}")
    print(
        f"residual of layer 1: floor on the true data {table['floor_layer_1']:.3f}, "
        f"the attack reached {table['reached_layer_1']:.3f}"
    )
    print(
        f"reconstruction: {table['restarts']} starts, {table['candidates']} candidates kept, "
        f"{table['reconstruct_seconds']:.0f} s\n"
    )
    print(f"one to one, of {table['n']} images   NCC top 10  >= 0.8  >= 0.9   SSIM top 10  >= 0.4")
    for name, label in (
        ("data", "training images"),
        ("unseen", "unseen images"),
        ("difference", "difference"),
    ):
        line = scores[name]
        print(
            f"  {label:24}      {line['ncc_top10']:6.3f}  {line['ncc_08']:6d}  {line['ncc_09']:6d}"
            f"        {line['ssim_top10']:6.3f}  {line['ssim_04']:6d}"
        )
    if "ranking_agreement" in table:
        print(
            "ranking without data (agreement of starts) against true NCC, Spearman "
            f"{table['ranking_agreement']:.2f}"
        )
