"""Training points lie on the kinks of the first layer.

    python demos/kinks.py

The left panel shows the toy.  The kinks of its first layer are lines, and five or more of
them meet at each training point.  The right panel shows how many kinks of the first layer of
an image network pass through training images, and through images that it has not seen.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import (
    BLACK,
    VERMILLION,
    Clock,
    curve,
    demo_parser,
    read_images,
    save_figure,
    write_json,
)
from images import Victim, make_split, train
from scipy.stats import mannwhitneyu

import kkt_ref
from kkt_ref.attacks.kinks import kink_vertices, kinks_at
from kkt_ref.datasets.toys import paper_circle

LINES = 5


def draw_toy(ax: plt.Axes, net: kkt_ref.MLP, x: np.ndarray, vertices: np.ndarray) -> None:
    """Draw the kinks, the points where many of them meet, and the training points."""
    for (w_1, w_2), b in zip(net.weights[0], net.biases[0], strict=True):
        normal, offset = np.array([w_1, w_2]), -b / (w_1**2 + w_2**2)
        ax.axline(offset * normal, offset * normal + (-w_2, w_1), lw=0.3, color="0.6")
    ax.plot([], [], lw=0.8, color="0.6", label="kink of a neuron")
    ax.plot(*x.T, "o", mfc="none", mec=BLACK, ms=11, label="training point")
    ax.plot(*vertices.T, "D", color=VERMILLION, ms=4, label=f"{LINES} or more kinks meet")
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.set(xlabel="first input $x_1$", ylabel="second input $x_2$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)


def draw_counts(ax: plt.Axes, seen: np.ndarray, unseen: np.ndarray) -> None:
    """Draw the sorted counts of the training images and of the unseen images."""
    for k, (counts, name) in enumerate(((unseen, "unseen"), (seen, "training"))):
        rank = np.arange(1, len(counts) + 1)
        ax.plot(rank, np.sort(counts)[::-1], **curve(k), label=f"{name} images")
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel="rank of the image", ylabel="kinks of the first layer through the image")
    ax.legend()
    ax.grid(True)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("kinks", __doc__, images=True)
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    clock = Clock()
    x, y = paper_circle()
    width, target = (100, 1e-6) if options.quick else (300, 1e-16)
    start = kkt_ref.init_paper((2, width, 1), np.random.default_rng(options.seed), first_layer=0.3)
    toy = kkt_ref.loss_scaled_descent(start, x, y, rate=10.0, target_loss=target).net
    vertices, _ = kink_vertices(toy, lines=LINES)
    match = kkt_ref.match_points(x, vertices, tolerance=0.005)
    clock.say(
        f"toy: {LINES} or more kinks meet at {len(vertices)} points, "
        f"and {match.matched} of 20 training points are within 0.005 of such a point"
    )

    n = 10 if few or options.quick else 100
    victim = Victim(n=n, width=200 if options.quick else 1000)
    split = make_split(images, victim)
    net = train(victim, split, options.seed).astype(np.float64)
    seen, unseen = kinks_at(net, split.x), kinks_at(net, split.unseen_x)
    told_apart = float(mannwhitneyu(seen, unseen).statistic / (len(seen) * len(unseen)))
    clock.say(
        f"{options.images}, n = {n}: kinks through a training image: mean {seen.mean():.1f}, "
        f"largest {seen.max()}; through an unseen image: mean {unseen.mean():.1f}, "
        f"largest {unseen.max()}"
    )
    print(
        f"A training image lies on more kinks than an unseen image in {told_apart:.0%} of pairs, "
        "where a tie counts one half."
    )

    figure, axes = plt.subplots(1, 2, figsize=(13.5, 5.6), layout="constrained")
    draw_toy(axes[0], toy, x, vertices)
    draw_counts(axes[1], seen, unseen)
    axes[1].set_title(
        f"Kinks through an image, {options.images}, n = {n}:\n"
        f"mean {seen.mean():.1f} (training images), {unseen.mean():.1f} (unseen images)"
    )
    save_figure(figure, options.save)
    clock.say(f"figure: {options.save}")
    table = {
        "seed": options.seed,
        "vertices": len(vertices),
        "matched_005": match.matched,
        "mean_training": float(seen.mean()),
        "mean_unseen": float(unseen.mean()),
        "training_above_all_unseen": float(np.mean(seen > unseen.max())),
        "auc": told_apart,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
