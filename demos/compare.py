"""Compare attacks on one network, and one attack on many networks.

    python demos/compare.py
    python demos/compare.py --groups start training

Each row trains a network, attacks it, and scores the images beside as many that the network never
saw, in the same way for all.  The group "attacks" changes the attack: independent components,
alternating least squares, the paper's attack, model inversion, rows of the first layer, and
averages of training images, which are no attack, but show the score of a blurred image.  The other
groups keep the attack by components, with no setting changed, and change the network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from common import (
    BLUE,
    GREY,
    TITLES,
    VERMILLION,
    Clock,
    demo_parser,
    read_images,
    save_figure,
    write_json,
)
from images import (
    Victim,
    by_components,
    by_first_layer,
    by_paper,
    contrast,
    headline,
    make_split,
    score,
    show_image,
    train,
)
from scipy.optimize import Bounds, minimize

import kkt_ref
from kkt_ref.datasets.split import Split
from kkt_ref.metrics import match_one_to_one, ncc_all_pairs
from kkt_ref.stationarity import closed_form

COLUMNS = 10
Array = np.ndarray
Attack = Callable[[kkt_ref.MLP, Split, int], Array]  # network, split, seed -> candidates (m, d)


def components(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """The recommended attack."""
    return by_components(net, split, seed).candidates


def one_start(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """The same from one start, so that nothing is averaged."""
    return by_components(net, split, seed, 1).candidates


def known_mean(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """The same for an attacker who knows the mean of the training images."""
    known = dict(image_shape=split.shape, mean=split.mean, seed=seed)
    return kkt_ref.attacks.reconstruct_components(net, **known).candidates  # type: ignore[arg-type]


def alternation(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """Stationarity of the first layer, with the signals of the final network."""
    return by_first_layer(net, split, seed).candidates


def paper(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """The published loss, by L-BFGS from one start; more starts take minutes."""
    return by_paper(net, split, seed, 1).candidates


def inversion(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """Model inversion: the images with the largest |Φ|; no KKT condition is used."""
    net, (n, d) = net.astype(np.float64), (min(len(split.x), 20), net.d)
    y = np.where(np.arange(n) % 2 == 0, -1.0, 1.0)
    low, high = np.tile(-split.mean, n), np.tile(1 - split.mean, n)
    start = np.clip(0.1 * np.random.default_rng(seed).normal(size=n * d), low, high)

    def descend(vector: Array) -> tuple[float, Array]:
        trace = closed_form.forward(net, vector.reshape(n, d))
        delta = closed_form.backward(trace, y[:, None]).deltas[0]
        return -float(y @ trace.outputs), -(delta @ net.weights[0]).ravel()  # −y ∇_xΦ

    options = dict(jac=True, method="L-BFGS-B", options=dict(maxiter=100, ftol=0.0, gtol=1e-10))
    found = minimize(descend, start, bounds=Bounds(low, high), **options)
    return found.x.reshape(n, d)


def rows_of_layer_1(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """The rows of W₁ as they are, with both signs."""
    W = net.weights[0].astype(np.float64)
    W = W[np.linalg.norm(W, axis=1) > 0]
    return np.stack([W, -W], axis=1).reshape(-1, net.d)  # (2 h, d)


def averages(net: kkt_ref.MLP, split: Split, seed: int) -> Array:
    """Averages of five random images of one class, the classes in turn."""
    rng, of = np.random.default_rng(seed), min(5, len(split.x) // 2)
    classes = [np.flatnonzero(split.y == sign) for sign in (-1, 1)]
    chosen = [rng.choice(classes[i % 2], size=of, replace=False) for i in range(2 * len(split.x))]
    return np.stack([split.x[rows].mean(axis=0) for rows in chosen])  # (2 n, d)


class Row(NamedTuple):
    """A line of the table."""

    group: str
    what: str
    attack: Attack = components
    victim: Victim = Victim()


ROWS = (
    Row("attacks", "independent components"),
    Row("attacks", "the same, one start", one_start),
    Row("attacks", "the same, mean known", known_mean),
    Row("attacks", "alternating least squares", alternation),
    Row("attacks", "the paper's attack", paper),
    Row("attacks", "model inversion", inversion),
    Row("attacks", "rows of the first layer", rows_of_layer_1),
    Row("attacks", "averages of 5 training images", averages),
    Row("images", "images from the middle of the file", victim=Victim(skip=0.4)),
    Row("images", "images from the end of the file", victim=Victim(skip=0.7)),
    Row("width", "width 250", victim=Victim(width=250)),
    Row("width", "width 500", victim=Victim(width=500)),
    Row("width", "width 2000", victim=Victim(width=2000)),
    Row("depth", "two layers", victim=Victim(depth=2)),
    Row("depth", "four layers", victim=Victim(depth=4)),
    Row("depth", "five layers", victim=Victim(depth=5)),
    Row("bias", "biases in every layer", victim=Victim(bias="all")),
    Row("start", "layer 1 starts at 1e-3", victim=Victim(start=1e-3)),
    Row("start", "layer 1 starts at 1e-2", victim=Victim(start=1e-2)),
    Row("start", "layer 1 starts at PyTorch's default", victim=Victim(start=None)),
    Row("training", "weight decay 1e-4, 100 steps of L-BFGS", victim=Victim(lbfgs=100, decay=1e-4)),
    Row("training", "the same, 1000 steps", victim=Victim(lbfgs=1000, decay=1e-4)),
    Row(
        "training",
        "regression on -1 and +1, weight decay",
        victim=Victim(loss="mse", lbfgs=300, decay=1e-4),
    ),
    Row("training", "stored in half precision", victim=Victim(half=True)),
    Row("training", "300 steps of Adam, one start", one_start, Victim(adam=300)),
)
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))
USUAL = ROWS[0]._replace(what="as in the other demos")


def draw_counts(rows: list[dict[str, Any]], images: str, path: Path) -> None:
    """Draw a line for each row: how many training and unseen images have NCC >= 0.8."""
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.8), layout="constrained")
    places, counts = range(len(rows)), [row["data"]["ncc_08"] for row in rows]
    ax.hlines(places, 0, counts, color=GREY, lw=1)
    ax.scatter(counts, places, s=60, color=BLUE, label="training images", zorder=3)
    null = [row["unseen"]["ncc_08"] for row in rows]
    ax.scatter(
        null, places, s=60, marker="s", ec=VERMILLION, fc="white", label="unseen images", zorder=2
    )
    ax.set_yticks(places, [row["row"] for row in rows])
    ax.invert_yaxis()
    ax.set(xlabel=f"images of {rows[0]['n']} with NCC ≥ 0.8", title=TITLES[images])
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(True, axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    save_figure(figure, path)


def draw_images(split: Split, found: list[tuple[str, Array]], path: Path) -> None:
    """Draw the best images of each attack above the training images that they match."""
    columns = min(COLUMNS, len(split.x))
    figure = plt.figure(figsize=(columns + 0.5, 2.35 * len(found)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)
    for panel, (title, candidates) in zip(figure.subfigures(len(found), 1), found, strict=True):
        panel.suptitle(title, x=0.01, ha="left", fontsize=10)
        axes = panel.subplots(2, columns)
        match = match_one_to_one(ncc_all_pairs(split.x, candidates))
        for column, image in enumerate(np.argsort(-match.score)[:columns]):
            shown = contrast(candidates[[match.candidate[image]]] + split.mean)[0]
            if match.candidate[image] < 0:  # fewer candidates than images
                shown = np.ones_like(shown)
            for row, pixels in ((0, shown), (1, split.x[image] + split.mean)):
                show_image(axes[row, column], pixels, split)
            axes[1, column].set_xlabel(f"NCC {match.score[image]:.2f}", fontsize=9, labelpad=2)
        axes[0, 0].set_ylabel("candidate", fontsize=9)
        axes[1, 0].set_ylabel("training\nimage", fontsize=9)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the rows of the chosen groups and return their table."""
    parser = demo_parser("compare", __doc__, images=True)
    add = parser.add_argument
    add("--n", type=int, help="number of training images (default: 100)")
    add("--groups", nargs="+", choices=GROUPS, default=GROUPS[:1], help="which rows")
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    few = few or options.quick
    n, clock, table = options.n or (10 if few else 100), Clock(), list[dict[str, Any]]()
    rows = [row for row in ROWS if row.group in options.groups]
    rows = rows if rows[0].group == "attacks" else [USUAL, *rows]
    pictures, networks = [], dict[Victim, Any]()
    print(f"{options.images}, n = {n}; training images (unseen images)")
    print(f"{'':48} NCC >= 0.8     >= 0.9    ten best       SSIM, ten best")
    for row in rows:
        victim = row.victim._replace(n=n, skip=0.0 if few else row.victim.skip)
        if options.quick:
            victim = victim._replace(width=victim.width // 5, lbfgs=victim.lbfgs // 10)
        if victim not in networks:
            split = make_split(images, victim)
            networks = {victim: (split, train(victim, split, options.seed))}  # the last one only
        split, net = networks[victim]
        began = clock.seconds
        try:
            candidates = row.attack(net, split, options.seed)
        except ValueError as error:  # no directions of layer 1 stand out of its start
            clock.say(f"{row.what}: refused. {error}")
            candidates = np.ones((1, net.d))
        seconds = clock.seconds - began
        # one norm for all: SSIM depends on it
        sizes = np.linalg.norm(candidates, axis=1, keepdims=True) / (0.25 * np.sqrt(net.d))
        data, unseen = score(split, candidates := candidates / sizes)
        clock.say(
            f"{row.what:38} {data.ncc_08:5d} ({unseen.ncc_08})    {data.ncc_09:5d} "
            f"({unseen.ncc_09})   {data.ncc_top10:.3f} ({unseen.ncc_top10:.3f})  "
            f"{data.ssim_top10:.3f} ({unseen.ssim_top10:.3f})"
        )
        line = {"row": row.what, "group": row.group, "n": n, **victim._asdict()}
        line |= {"seconds_attack": seconds, "candidates": len(candidates)}
        table.append(line | {"data": data._asdict(), "unseen": unseen._asdict()})
        write_json(options.json, table)
        if row.group == "attacks" and not row.what.startswith("the same"):
            title = headline(row.what, n, data.ncc_08, unseen.ncc_08)
            pictures.append((title, candidates))
    draw_counts(table, options.images, options.save)
    if len(pictures) > 1:
        draw_images(split, pictures, options.save.with_stem(f"{options.save.stem}_images"))
    clock.say(f"picture: {options.save}")
    return table


if __name__ == "__main__":
    main()
