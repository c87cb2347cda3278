"""Membership: the weights tell who was in the training set, and the loss does not.

    python demos/membership.py

A network is trained, and every training image and many unseen ones get a score of membership from
its weights (see kkt_ref/attacks/membership.py).  The left panel shows the ROC curves on two
logarithmic axes: a false positive rate of 0.1% is what a claim about one person needs.  The loss,
which most attacks use, is beside it.  The right panel shows other networks: other starts, Adam,
weight decay, ten outputs, weights stored in half precision, and other numbers of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import (
    BLUE,
    VERMILLION,
    Clock,
    demo_parser,
    draw_roc,
    read_images,
    roc_table,
    save_figure,
    write_json,
)
from images import Victim, train

import kkt_ref
from kkt_ref.attacks import membership_scores
from kkt_ref.datasets import ImageSet, Split, binary_split, ten_class_split
from kkt_ref.metrics import roc

VICTIMS = {
    "paper's start": Victim(),
    "stored as float16": Victim(half=True),
    "ten outputs": Victim(classes=10),
    "layer 1 starts at 0.03": Victim(start=0.03),
    "default start, biases": Victim(start=None, bias="all"),
    "Adam": Victim(adam=300),
    "Adam, default start": Victim(start=None, bias="all", adam=300),
    "Adam, weight decay 1e-3": Victim(adam=1000, decay=1e-3),
    "n = 50": Victim(n=50),
    "n = 200": Victim(n=200),
    "n = 500": Victim(n=500),
    "n = 2000, Adam, default start": Victim(n=2000, start=None, bias="all", adam=100),
}


def scores(net: kkt_ref.MLP, split: Split) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each score on the training images and on the unseen ones."""
    n, x = len(split.x), np.concatenate([split.x, split.unseen_x])
    y = np.concatenate([split.y, split.unseen_y])
    found = membership_scores(net, x)
    named = {
        "span and signal": found.score,
        "span alone": found.span,
        "signal alone": found.signal,
        "the loss": kkt_ref.margins(net.astype(np.float64), x, y),  # it falls as the margin grows
    }
    return {name: (values[:n], values[n:]) for name, values in named.items()}


def split_of(images: ImageSet, victim: Victim, unseen: int) -> Split:
    """The training images of a victim, and as many unseen ones as there are, up to a number."""
    make = binary_split if victim.classes == 2 else ten_class_split
    while True:
        try:
            return make(images, victim.n, unseen=unseen)
        except ValueError:  # too few images of a class
            if unseen <= 10:
                raise
            unseen = unseen * 9 // 100 * 10


def draw(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], rows: list[dict[str, Any]], path: Path
) -> None:
    """Draw the ROC curves of one network, and the rates of all."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5.0), layout="constrained")
    draw_roc(left, curves)
    left.set_title(rows[0]["title"])
    left.legend(loc="upper left", bbox_to_anchor=(0.02, 0.92))
    place = np.arange(len(rows))
    for name, colour, marker in (("span and signal", VERMILLION, "o"), ("the loss", BLUE, "s")):
        right.plot([row[name]["tpr001"] for row in rows], place, marker, color=colour, label=name)
    right.set_yticks(place, [row["network"] for row in rows])
    right.set(xlim=(-0.03, 1.03), xlabel="true positive rate at an FPR of 1%")
    right.invert_yaxis()
    right.set_title("Other networks")
    right.legend(loc="upper center")
    right.grid(True)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("membership", __doc__, images=True)
    parser.add_argument("--first", type=int, help="only so many of the networks")
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    clock, width = Clock(), 100 if options.quick else 1000
    rows: list[dict[str, Any]] = []
    curves = {}
    for name, victim in list(VICTIMS.items())[: 5 if options.quick else options.first]:
        n = min(victim.n, 50) if few or options.quick else victim.n
        victim = victim._replace(n=n, width=width)
        try:
            split = split_of(images, victim, 6000)
        except ValueError as error:
            clock.say(f"{name}: left out; {error}")
            continue
        net = train(victim, split, options.seed)
        found = scores(net, split)
        title = f"{options.images}, n = {victim.n}, {len(split.unseen_x)} unseen images"
        row: dict[str, Any] = {"network": name, "title": title, "n": victim.n}
        row |= {score: roc_table(roc(*pair)) for score, pair in found.items()}
        rows.append(row)
        curves = curves or found
        clock.say(f"{name} ({title})")
        for score, pair in found.items():
            result = roc(*pair)
            low, high = result.auc_interval
            rates = "  ".join(
                f"{rate}: {'-' if value is None else f'{value:.2f}'}"
                for rate, value in (("1%", result.tpr001), ("0.1%", result.tpr0001))
            )
            print(f"  {score:16s} AUC {result.auc:.3f} ({low:.3f} to {high:.3f})  TPR at {rates}")
    draw(curves, rows, options.save)
    clock.say(f"figure: {options.save}")
    table = {"images": options.images, "width": width, "seed": options.seed, "rows": rows}
    write_json(options.json, table | {"seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
