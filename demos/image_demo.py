"""The command line that the demos on MNIST and CIFAR-10 share."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from image_run import ATTACKS, Outcome, Settings, run
from plot_images import TITLES, draw, headline
from report import add_outputs, seed_number, write_json

from kkt_ref._io import claim, forget
from kkt_ref.attacks.pooling import distinct
from kkt_ref.datasets.download import download_images
from kkt_ref.datasets.images import default_images


def parse(
    name: str, what: str, arguments: list[str] | None
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read and check the options."""
    parser = argparse.ArgumentParser(description=what)
    add = parser.add_argument
    add("--n", type=int, help="number of training images; equally many are of each class")
    add("--classes", type=int, choices=(2, 10), default=2, help="two classes, or all ten")
    add("--width", type=int, default=1000, help="number of neurons in each hidden layer")
    add("--depth", type=int, default=3, help="number of layers, including the output layer")
    add("--seed", type=seed_number, default=0, help="seed of network and attack")
    add("--restarts", type=int, help="number of random starts of the attack")
    add("--attack", choices=tuple(ATTACKS), default="first-layer", help="which attack to run")
    add("--full", action="store_true", help="use 500 images and the paper's network")
    add("--quick", action="store_true", help="a small and short run, to see that it works")
    add("--data", type=Path, help="folder with the official files")
    add("--download", action="store_true", help="download the official files first")
    add("--out", type=Path, default=Path(f"{name}_run"), help="folder for the state of the run")
    add("--resume", action="store_true", help="continue the stopped run in that folder")
    add_outputs(parser, f"{name}.png")
    options = parser.parse_args(arguments)
    if options.depth < 2 or options.width < 1:
        parser.error("expected a --depth of at least 2 and a --width of at least 1")
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
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    embedded = images.source.startswith("embedded")
    n = 500 if options.full else defaults["embedded" if embedded else "official"]
    n, width = options.n or n, options.width
    restarts = defaults["full"] if options.full else defaults["restarts"]
    restarts = options.restarts or (restarts if options.classes == 2 else max(restarts, 24))
    if options.quick:
        n, width, restarts = min(n, 10 if options.classes == 2 else 20), 200, 4
    source = images.source if embedded else "official files"
    settings = Settings(
        name, source, n, width, options.depth, options.seed, options.attack, options.classes
    )

    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        if not options.resume:
            forget(options.out)
        folder = claim(options.out, settings._asdict())
        print(
            f"{name}: {n} images of {options.classes} classes from {images.source}, network of "
            f"width {width}",
            flush=True,
        )
        outcome = run(images, settings, folder, restarts)
    except KeyboardInterrupt:
        print(f"\nStopped. The same command with --resume continues from {options.out}.")
        sys.exit(130)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print_table(outcome)
    found = {which: scores["ncc_08"] for which, scores in outcome.table["scores"].items()}
    title = headline(TITLES[name], n, found["data"], found["unseen"])
    print(f"\n{title}")
    candidates = outcome.found.candidates
    draw(outcome.split, candidates, distinct(candidates), title, options.save)
    print(f"picture: {options.save}")
    write_json(options.json, outcome.table)
    return outcome.table


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def print_table(outcome: Outcome) -> None:
    """Print how training went, how near to KKT the network is, and what was reconstructed."""
    table, trained = outcome.table, outcome.table["train"]
    kkt, scores = table["kkt"], table["scores"]
    print(
        f"\ntraining: {trained['steps']} steps, loss {trained['loss']:.1e}, "
        f"train error {trained['train_error']:.1%}, test error {trained['test_error']:.1%} "
        f"on {trained['test_images']} images, margins {trained['margin_min']:.1f} to "
        f"{trained['margin_max']:.1f}, {trained['seconds']:.0f} s"
    )
    layers = ", ".join(f"{r:.2f}" for r in kkt["stationarity_by_layer"])
    print("KKT conditions on the true data: violations, 0 means that the condition is satisfied")
    print(f"  stationarity, relative   {kkt['stationarity']:.3f}   by layer {layers}")
    print(f"  dual feasibility         {kkt['dual_feasibility']:.3f}")
    print(f"  complementary slackness  {kkt['complementary_slackness']:.3f}")
    print(
        f"residual of layer 1: floor on the true data {table['floor_layer_1']:.3f}, "
        f"the attack reached {table['reached_layer_1']:.3f}"
    )
    print(
        f"attack: {table['restarts']} random starts, {table['candidates']} candidates, "
        f"{table['reconstruct_seconds']:.0f} s\n"
    )
    print("Candidates matched one to one: the mean of the ten best, and how many reach a score")
    print(f"{'':26} NCC: ten best  >= 0.8  >= 0.9   SSIM: ten best  >= 0.4")
    for name, label in (
        ("data", f"{table['n']} training images"),
        ("unseen", f"{table['n']} unseen images"),
        ("difference", "difference"),
    ):
        line = scores[name]
        print(
            f"  {label:24} {line['ncc_top10']:13.3f}  {line['ncc_08']:6d}  {line['ncc_09']:6d}"
            f"   {line['ssim_top10']:14.3f}  {line['ssim_04']:6d}"
        )
    if "ranking_agreement" in table:
        print(
            "Without data, candidates are ranked by the agreement of the starts; its correlation "
            f"(Spearman) with the true NCC is {table['ranking_agreement']:.2f}."
        )
