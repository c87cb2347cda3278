"""Weight decay protects the training data, once training follows it to its end.

    python demos/weight_decay.py

With weight decay μ, every stationary point satisfies θ = Σ U_ic ∇θΦ_c(x_i) exactly, and the outputs
say what U is.  So the training data solve the attacker's equation better and better.  The first
layer keeps nearly all images for a long time: they become weak in it, but stay above its noise.  At
the end it collapses to a few directions, and images cannot come back out of so few.  The demo
trains softplus networks with several μ, attacks each of them on the way to its stationary point by
independent components, and draws what comes back beside the directions that layer 1 shows.
"""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import matplotlib.pyplot as plt
import numpy as np
from common import Clock, curve, demo_parser, read_images, save_figure, write_json
from images import by_components, score

import kkt_ref
from kkt_ref.attacks.components import span_of_images
from kkt_ref.datasets.split import Split, binary_split
from kkt_ref.kkt.weight_decay import weight_decay_stationarity
from kkt_ref.training import weight_decay_optimum

DECAYS = (1e-5, 1e-4, 1e-3)
BUDGETS = (30, 100, 300, 1000, 3000)  # iterations of L-BFGS


def row(net: kkt_ref.MLP, split: Split, seed: int) -> dict[str, Any]:
    """What the attack finds in a network, and how near the network is to its stationary point."""
    fit = weight_decay_stationarity(net, split.x, split.y, loss="logistic")
    data, unseen = score(split, by_components(net, split, seed).candidates)
    return {
        "residual": fit.stationarity.relative,
        "directions": len(span_of_images(net.weights[0])),
        "ncc_08": data.ncc_08,
        "ncc_top10": data.ncc_top10,
        "unseen_08": unseen.ncc_08,
        "unseen_top10": unseen.ncc_top10,
    }


def draw(rows: list[dict[str, Any]], n: int, path: Path) -> None:
    """Draw the number of images, the directions of layer 1 and the floor over the iterations."""
    panels = (
        ("ncc_08", f"images with NCC ≥ 0.8, of {n}"),
        ("directions", "directions that layer 1 shows"),
        ("residual", "relative residual of stationarity"),
    )
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), layout="constrained")
    for number, decay in enumerate(sorted({row["decay"] for row in rows})):
        mine = [row for row in rows if row["decay"] == decay]
        for ax, (name, label) in zip(axes, panels, strict=True):
            ax.plot([r["iterations"] for r in mine], [r[name] for r in mine], **curve(number))
            ax.set(xscale="log", xlabel="iterations of training", title=label)
            ax.grid(True)
        axes[0].plot([], [], label=f"decay μ = {decay:g}", **curve(number))
    axes[2].set_yscale("log")
    axes[0].legend()
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("weight_decay", __doc__, images=True)
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    n, width, decays, budgets = options.n, 300, DECAYS, BUDGETS
    if few or options.quick:
        n, width, decays, budgets = min(n, 10), 50, DECAYS[-1:], BUDGETS[:2]
    clock, split = Clock(), binary_split(images, n, unseen=n)
    rows = []
    for decay in decays:
        rng = np.random.default_rng(options.seed)
        start = kkt_ref.init_paper((split.x.shape[1], width, 1), rng, first_layer=1e-2)
        net, done = start.with_activation(kkt_ref.Softplus(20.0)), 0
        for budget in budgets:
            # 1. Train on: L-BFGS continues from where it was.
            trained = weight_decay_optimum(
                net,
                split.x,
                split.y,
                loss="logistic",
                decay=decay,
                tolerance=1e-5,
                max_iterations=budget - done,
            )
            net, done = trained.net, budget
            # 2. Attack the network as it is now.
            here = row(net, split, options.seed)
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
    table = {"n": n, "width": width, "seed": options.seed, "rows": rows}
    write_json(options.json, table | {"seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
