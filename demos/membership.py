"""Who was in the training set?  The weights tell it, and the loss does not.

    python demos/membership.py

A network is trained, and every training image and many unseen ones get a score of membership from
its weights (see kkt_ref/attacks/membership.py).  The left panel shows the ROC curves on two
logarithmic axes: a false positive rate of 0.1% is what a claim about one person needs.  The loss,
which most attacks use, is beside it.  The right panel shows other networks: other starts, Adam,
weight decay, ten outputs, weights stored in half precision, and other numbers of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from report import Clock, write_json
from study import read_options, study_parser
from style import BLUE, GREY, VERMILLION, curve, save_figure

import kkt_ref
from kkt_ref.attacks import membership_scores
from kkt_ref.datasets.images import ImageSet
from kkt_ref.datasets.split import Split, binary_split, ten_class_split
from kkt_ref.metrics import ROC, roc, roc_curve
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.losses import loss_by_name

TARGET = 4e-6  # mean loss at which the paper's networks were stopped


class Victim(NamedTuple):
    """How a network is trained: by loss-scaled descent, or by Adam for a number of steps."""

    name: str
    n: int = 100
    classes: int = 2
    start: float | None = 1e-4  # standard deviation of layer 1; None: PyTorch's default, all biases
    adam: int = 0  # steps
    decay: float = 0.0
    half: bool = False  # stored in half precision


VICTIMS = (
    Victim("paper's start"),
    Victim("stored as float16", half=True),
    Victim("ten outputs", classes=10),
    Victim("layer 1 starts at 0.03", start=0.03),
    Victim("default start, biases", start=None),
    Victim("Adam", adam=300),
    Victim("Adam, default start", start=None, adam=300),
    Victim("Adam, weight decay 1e-3", adam=1000, decay=1e-3),
    Victim("n = 50", n=50),
    Victim("n = 200", n=200),
    Victim("n = 500", n=500),
    Victim("n = 2000, Adam, default start", n=2000, start=None, adam=100),
)


def train(victim: Victim, split: Split, width: int, seed: int) -> kkt_ref.MLP:
    """Train the network of a victim in float32."""
    K = 1 if victim.classes == 2 else victim.classes
    widths, rng = (split.x.shape[1], width, width, K), np.random.default_rng(seed)
    if victim.start is None:
        net = kkt_ref.init_uniform(widths, rng, bias="all", dtype=np.float32)
    else:
        net = kkt_ref.init_paper(widths, rng, first_layer=victim.start, dtype=np.float32)
    x = split.x.astype(np.float32)
    if victim.adam:
        net = adam(net, x, split.y, victim.adam, victim.decay)
    else:
        net = kkt_ref.loss_scaled_descent(net, x, split.y, rate=6.0, target_loss=TARGET).net
    return net.astype(np.float16).astype(np.float32) if victim.half else net


def adam(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray, steps: int, decay: float) -> kkt_ref.MLP:
    """Train by Adam with PyTorch's defaults on the whole set, with decay of all parameters."""
    loss = loss_by_name("logistic")
    theta, first, square = net.theta, np.zeros_like(net.theta), np.zeros_like(net.theta)
    for step in range(1, steps + 1):
        here = evaluate(net, x)
        pull = here.gradient_sum(loss.pull(here.outputs, y) / len(x))
        slope = decay * theta - np.concatenate([g.ravel() for g in pull])
        first += 0.1 * (slope - first)
        square += 0.001 * (slope**2 - square)
        change = first / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        theta = theta - np.float32(1e-3) * change.astype(np.float32)
        net = net.with_theta(theta)
    return net


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
    least = 0.5 / len(next(iter(curves.values()))[1])
    for number, (name, (members, others)) in enumerate(curves.items()):
        fpr, tpr = roc_curve(members, others)
        style = curve(number) | {"marker": ""}
        left.step(np.maximum(fpr, least), tpr, where="post", lw=2.2, label=name, **style)
    line = np.geomspace(least, 1, 50)
    left.plot(line, line, color=GREY, lw=0.8, ls=":", label="chance")
    left.set(xscale="log", yscale="log", xlim=(least, 1.05), ylim=(least, 1.3))
    left.set(xlabel="false positive rate (unseen images)", ylabel="true positive rate (training)")
    left.set_title(rows[0]["title"])
    left.legend(loc="upper left", bbox_to_anchor=(0.02, 0.92))
    left.grid(True)
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


def figures(result: ROC) -> dict[str, Any]:
    """The ROC figures without the p-values."""
    return {name: value for name, value in result._asdict().items() if name != "p_values"}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("membership", __doc__.split("\n")[0], attack=False)
    parser.add_argument("--width", type=int, default=1000, help="neurons of each hidden layer")
    parser.add_argument("--first", type=int, help="only so many of the networks")
    options, images, few = read_options(parser, arguments)
    clock, width = Clock(), 100 if options.quick else options.width
    rows: list[dict[str, Any]] = []
    curves = {}
    for victim in VICTIMS[: 5 if options.quick else options.first]:
        victim = victim._replace(n=min(victim.n, 50) if few else victim.n)
        try:
            split = split_of(images, victim, 6000)
        except ValueError as error:
            clock.say(f"{victim.name}: left out; {error}")
            continue
        net = train(victim, split, width, options.seed)
        found = scores(net, split)
        title = f"{options.images}, n = {victim.n}, {len(split.unseen_x)} unseen images"
        row: dict[str, Any] = {"network": victim.name, "title": title, "n": victim.n}
        for name, pair in found.items():
            row[name] = figures(roc(*pair))
        rows.append(row)
        curves = curves or found
        clock.say(f"{victim.name} ({title})")
        for name, pair in found.items():
            result = roc(*pair)
            low, high = result.auc_interval
            rates = "  ".join(
                f"{rate}: {'-' if value is None else f'{value:.2f}'}"
                for rate, value in (("1%", result.tpr001), ("0.1%", result.tpr0001))
            )
            print(f"  {name:16s} AUC {result.auc:.3f} ({low:.3f} to {high:.3f})  TPR at {rates}")
    draw(curves, rows, options.save)
    clock.say(f"figure: {options.save}")
    table = {"images": options.images, "width": width, "seed": options.seed, "rows": rows}
    write_json(options.json, table | {"seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
