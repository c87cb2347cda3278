"""Does weight decay protect the training data?  It does, once training follows it to its end.

    python demos/weight_decay.py

With weight decay μ, every stationary point satisfies θ = Σ U_ic ∇θΦ_c(x_i) exactly, and the outputs
say what U is.  So the training data solve the attacker's equation better and better.  At the same
time the first layer collapses to a few directions, and images cannot come back out of fewer
directions than there are images.  The demo trains softplus networks with several μ, attacks each
of them on the way to its stationary point, and draws what comes back beside the rank of layer 1.

With --loss mse or --loss huber the network regresses: on labels -1 and +1, or with --targets
numbers on the classes 0 to 9, scaled to [-1, 1].  --attack paper is the published attack, in
regression with multipliers of any sign.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import matplotlib.pyplot as plt
import numpy as np
from image_run import score
from report import Clock, write_json
from study import read_options, study_parser
from style import COLOURS, LINES, MARKERS, save_figure

import kkt_ref
from kkt_ref.attacks import reconstruct_paper
from kkt_ref.datasets.split import Split, binary_split, ten_class_split
from kkt_ref.kkt.weight_decay import weight_decay_stationarity
from kkt_ref.stationarity import Regression
from kkt_ref.training import weight_decay_optimum

DECAYS = (1e-5, 1e-4, 1e-3)
BUDGETS = (30, 100, 300, 1000, 3000)  # iterations of L-BFGS


def directions(net: kkt_ref.MLP) -> int:
    """How many directions W₁ has: its singular values above 1 % of the largest."""
    values = np.linalg.svd(net.weights[0], compute_uv=False)
    return int(np.sum(values > 0.01 * values[0]))


def attack(net: kkt_ref.MLP, n: int, options: Any, restarts: int) -> kkt_ref.Reconstruction:
    """The recommended attack, or the published one from as many starts."""
    if options.attack == "recommended":
        return kkt_ref.reconstruct(net, seed=options.seed, restarts=restarts)
    return reconstruct_paper(
        net,
        m=2 * n,
        seed=options.seed,
        restarts=restarts,
        max_iterations=300,
        problem=None if options.loss == "logistic" else Regression(),
    )


def row(net: kkt_ref.MLP, split: Split, options: Any, restarts: int) -> dict[str, Any]:
    """What the attack finds in a network, and how near the network is to its stationary point."""
    fit = weight_decay_stationarity(net, split.x, split.y, loss=options.loss)
    problem = None if options.loss == "logistic" else Regression()
    first_only = (1.0, *(0.0,) * (net.depth - 1))
    floor = kkt_ref.residual_floor(
        net, split.x, split.y, layer_weights=first_only, problem=problem
    ).by_layer[0]
    found = attack(net, len(split.x), options, restarts)
    scored = score(split, found.candidates)
    return {
        "residual": fit.stationarity.relative,
        "floor_layer_1": floor,
        "directions": directions(net),
        "ncc_08": scored.data.ncc_08,
        "ncc_top10": scored.data.ncc_top10,
        "unseen_08": scored.unseen.ncc_08,
        "unseen_top10": scored.unseen.ncc_top10,
    }


def draw(rows: list[dict[str, Any]], n: int, path: Path) -> None:
    """Draw the number of images, the directions of layer 1 and the floor over the iterations."""
    panels = (
        ("ncc_08", f"images with NCC ≥ 0.8, of {n}"),
        ("directions", "directions of layer 1"),
        ("residual", "relative residual of stationarity"),
    )
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), layout="constrained")
    for number, decay in enumerate(sorted({row["decay"] for row in rows})):
        mine = [row for row in rows if row["decay"] == decay]
        style = {"color": COLOURS[number], "ls": LINES[number], "marker": MARKERS[number]}
        for ax, (name, label) in zip(axes, panels, strict=True):
            ax.plot([r["iterations"] for r in mine], [r[name] for r in mine], **style)
            ax.set(xscale="log", xlabel="iterations of training", title=label)
            ax.grid(True)
        axes[0].plot([], [], label=f"decay μ = {decay:g}", **style)
    axes[2].set_yscale("log")
    axes[0].legend()
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("weight_decay", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--loss", choices=("logistic", "mse", "huber"), default="logistic")
    parser.add_argument(
        "--targets",
        choices=("labels", "numbers"),
        default="labels",
        help="numbers: the class, 0 to 9",
    )
    parser.add_argument("--attack", choices=("recommended", "paper"), default="recommended")
    parser.add_argument("--activation", choices=("softplus", "relu"), default="softplus")
    parser.add_argument("--decays", type=float, nargs="+", default=DECAYS, help="values of μ, > 0")
    parser.add_argument(
        "--iterations", type=int, nargs="+", default=BUDGETS, help="when to attack, rising"
    )
    options, images, quick = read_options(parser, arguments)
    if options.targets == "numbers" and options.loss == "logistic":
        parser.error("--targets numbers: expected --loss mse or huber")
    if not min(options.decays) > 0:
        parser.error(f"--decays: expected numbers above 0, got {options.decays}")
    budgets = options.iterations
    if budgets[0] < 1 or sorted(set(budgets)) != list(budgets):
        parser.error(f"--iterations: expected rising numbers above 0, got {budgets}")
    n, width = options.n, 300
    if quick:
        n, width, budgets = min(n, 10), 50, budgets[:2]
    clock = Clock()
    split = binary_split(images, n, unseen=n)
    if options.targets == "numbers":
        split = ten_class_split(images, n, unseen=n)
        split = replace(split, y=split.y / 4.5 - 1.0)
    rows = []
    for decay in options.decays[-1:] if quick else options.decays:
        rng = np.random.default_rng(options.seed)
        start = kkt_ref.init_paper((split.x.shape[1], width, 1), rng, first_layer=1e-2)
        if options.activation == "softplus":
            start = start.with_activation(kkt_ref.Softplus(20.0))
        net, done = start, 0
        for budget in budgets:
            # 1. Train on: L-BFGS continues from where it was.
            trained = weight_decay_optimum(
                net,
                split.x,
                split.y,
                loss=options.loss,
                decay=decay,
                tolerance=1e-5,
                max_iterations=budget - done,
            )
            net, done = trained.net, budget
            # 2. Attack the network as it is now.
            here = row(net, split, options, 4 if quick else options.restarts)
            rows.append({"decay": decay, "iterations": done, **here})
            clock.say(
                f"decay {decay:g}, {done} iterations: residual {here['residual']:.1e}, "
                f"{here['directions']} directions, NCC >= 0.8: {here['ncc_08']} "
                f"({here['unseen_08']}), ten best {here['ncc_top10']:.2f} "
                f"({here['unseen_top10']:.2f})"
            )
            if trained.converged:
                break
    draw(rows, n, options.save)
    clock.say(f"figure: {options.save}")
    names = ("seed", "loss", "targets", "attack", "activation")
    asked = {name: getattr(options, name) for name in names}
    table = {"n": n, "width": width, **asked, "rows": rows, "seconds": clock.seconds}
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
