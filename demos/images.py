"""The image demos: train a network, reconstruct its training images, and score them beside chance.

`mnist.py` and `cifar10.py` are the two doors of this file, and all studies on images use its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from common import TITLES, Clock, demo_parser, read_images, save_figure, write_json
from matplotlib.axes import Axes
from scipy.stats import skew

import kkt_ref
from kkt_ref.attacks.first_layer import distinct
from kkt_ref.datasets import ImageSet, Split, binary_split, download_images, ten_class_split
from kkt_ref.datasets.split import POSITIVE
from kkt_ref.metrics import Scores, match_one_to_one, ncc_all_pairs, score_candidates
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.losses import loss_by_name

TARGET = 4e-6  # mean logistic loss at which the paper's networks were stopped
RATE = 6.0  # of the descent
COLUMNS = 12  # of the picture
Array = np.ndarray


# 1. The network.


class Victim(NamedTuple):
    """A network, and how it is trained: as in the paper, unless a field says otherwise."""

    n: int = 100
    classes: int = 2
    width: int = 1000
    depth: int = 3
    start: float | None = 1e-4  # standard deviation of layer 1; None: PyTorch's default
    bias: str = "first"  # or "all": which layers have one
    loss: str | None = None  # logistic or cross-entropy unless given
    adam: int = 0  # steps of Adam instead of loss-scaled descent
    lbfgs: int = 0  # iterations of L-BFGS instead of it
    decay: float = 0.0  # of all weights, by Adam or L-BFGS
    half: bool = False  # stored in half precision
    skip: float = 0.0  # part of the file's images that is left out, from its beginning


def make_split(images: ImageSet, victim: Victim) -> Split:
    """The paper's split, or all ten classes; n unseen images, and up to 1000 for the test error."""
    skip, n = int(victim.skip * len(images.images)), victim.n
    images = replace(images, images=images.images[skip:], labels=images.labels[skip:])
    if victim.classes == 10:
        least = int(np.bincount(images.test_labels, minlength=10).min())
        return ten_class_split(images, n, unseen=n, test=min(1000, 10 * least))
    positive = np.isin(images.test_labels, POSITIVE[images.name])
    test = min(1000, 2 * int(min(positive.sum(), (~positive).sum())))
    return binary_split(images, n, unseen=n, test=test)


def loss_of(victim: Victim) -> str:
    """The name of the loss that trains a victim."""
    return victim.loss or ("logistic" if victim.classes == 2 else "cross_entropy")


def train(victim: Victim, split: Split, seed: int, clock: Clock | None = None) -> kkt_ref.MLP:
    """Train in float32: to a mean loss of 4e-6 by loss-scaled descent, or as the victim says."""
    rng, outputs = np.random.default_rng(seed), 1 if victim.classes == 2 else victim.classes
    widths = (split.x.shape[1], *(victim.width,) * (victim.depth - 1), outputs)
    net = kkt_ref.init_uniform(widths, rng, bias=victim.bias)
    if victim.start is not None:
        net = net.with_normal_first_layer(victim.start, rng)
    x, loss = split.x.astype(np.float32), loss_of(victim)

    def progress(record: kkt_ref.training.Record, net: kkt_ref.MLP) -> None:
        if clock is not None:
            clock.say(f"step {record.step}, loss {np.exp(record.log_loss):.1e}", pause=10.0)

    if victim.adam:
        net = adam(net.astype(np.float32), x, split.y, loss, victim.adam, victim.decay)
    elif victim.lbfgs:
        net = kkt_ref.training.weight_decay_optimum(
            net, split.x, split.y, loss=loss, decay=victim.decay, max_iterations=victim.lbfgs
        ).net
    else:
        net = kkt_ref.loss_scaled_descent(
            net.astype(np.float32),
            x,
            split.y,
            rate=RATE,
            target_loss=TARGET,
            record_every=50,
            callback=progress,
        ).net
    return (net.astype(np.float16) if victim.half else net).astype(np.float32)


def adam(net: kkt_ref.MLP, x: Array, y: Array, loss: str, steps: int, decay: float) -> kkt_ref.MLP:
    """Train by Adam with PyTorch's defaults on the whole set, with decay of all parameters."""
    theta, first, square = net.theta, np.zeros_like(net.theta), np.zeros_like(net.theta)
    for step in range(1, steps + 1):
        here = evaluate(net, x)
        pull = here.gradient_sum(loss_by_name(loss).pull(here.outputs, y) / len(x))
        slope = decay * theta - np.concatenate([g.ravel() for g in pull])
        first += 0.1 * (slope - first)
        square += 0.001 * (slope**2 - square)
        change = first / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        theta = theta - np.float32(1e-3) * change.astype(np.float32)
        net = net.with_theta(theta)
    return net


def training_table(victim: Victim, net: kkt_ref.MLP, split: Split) -> dict[str, Any]:
    """Loss, margins, train and test error; on the unseen images if there are no test images."""
    net = net.astype(np.float64)
    margins = kkt_ref.margins(net, split.x, split.y)
    tested = (split.test_x, split.test_y) if len(split.test_y) else (split.unseen_x, split.unseen_y)
    return {
        "loss": float(np.mean(loss_by_name(loss_of(victim)).value(net.outputs(split.x), split.y))),
        "train_error": float(np.mean(margins <= 0)),
        "test_error": float(np.mean(kkt_ref.margins(net, *tested) <= 0)),
        "test_images": len(tested[1]),
        "margin_min": float(margins.min()),
        "margin_max": float(margins.max()),
    }


# 2. The attacks.


def by_components(
    net: kkt_ref.MLP, split: Split, seed: int, restarts: int | None = None
) -> kkt_ref.Reconstruction:
    """The recommended attack on images: independent components of the first layer."""
    return kkt_ref.reconstruct(net, image_shape=split.shape, seed=seed, restarts=restarts)


def by_first_layer(
    net: kkt_ref.MLP, split: Split, seed: int, restarts: int | None = None
) -> kkt_ref.Reconstruction:
    """Alternating least squares on the equation of the first layer, which needs no image shape."""
    return kkt_ref.attacks.reconstruct_first_layer(net, seed=seed, restarts=restarts)


def by_paper(
    net: kkt_ref.MLP, split: Split, seed: int, restarts: int | None = None
) -> kkt_ref.Reconstruction:
    """The published loss in pixels, by L-BFGS with weights on the first layer only."""
    return kkt_ref.attacks.reconstruct_paper(
        net.astype(np.float64),
        m=2 * len(split.x),
        seed=seed,
        alpha=kkt_ref.attacks.gate_alpha(net, 0.25),
        layer_weights=(1.0, *(0.0,) * (net.depth - 1)),
        restarts=restarts or 4,
        max_iterations=300,
    )


Attack = Callable[..., kkt_ref.Reconstruction]
ATTACKS: dict[str, Attack] = {
    "components": by_components,
    "first-layer": by_first_layer,
    "paper": by_paper,
}


# 3. The scores.


def score(split: Split, candidates: Array) -> Scores:
    """One-to-one scores on the training images, and on as many unseen images."""
    return score_candidates(split.x, candidates, split.unseen_x, mean=split.mean, shape=split.shape)


def score_pictures(split: Split, pictures: Array) -> Scores:
    """The same for images from which no mean was subtracted."""
    raw, unseen = split.x + split.mean, split.unseen_x + split.mean
    return score_candidates(raw, pictures, unseen, mean=0.0 * split.mean, shape=split.shape)


def chosen_without_data(found: kkt_ref.Reconstruction) -> Array:
    """The candidates (m, d) in the order in which an attacker would show them, one sign of each."""
    return found.candidates[::2] if found.pictures is not None else distinct(found.candidates)


def scores(split: Split, found: kkt_ref.Reconstruction) -> dict[str, Any]:
    """All scores of a reconstruction, as a table; of its pictures too, if they are shown."""
    table: dict[str, Any] = {"candidates": len(found.candidates)}
    pairs = {"scores": score(split, found.candidates)}
    if shows_pictures(found, split):
        pairs["scores_of_pictures"] = score_pictures(split, found.pictures)
    for name, pair in pairs.items():
        table[name] = {"data": pair.data._asdict(), "unseen": pair.unseen._asdict()}
    best = np.abs(ncc_all_pairs(split.x, chosen_without_data(found))).max(axis=0)  # (m,)
    return table | {f"right_of_{k}": int(np.sum(best[:k] >= 0.8)) for k in (20, 40)}


def shows_pictures(found: kkt_ref.Reconstruction, split: Split) -> bool:
    """Whether the attack found the mean of digits; what it finds on photographs is not the mean."""
    digits = split.shape[0] == 1 and found.pictures is not None
    return digits and not np.allclose(found.pictures, found.candidates)


def headline(what: str, n: int, seen: int, unseen: int, level: float = 0.8) -> str:
    """What a method found, beside the null, as a title."""
    start = f"{what}: NCC ≥ {level} for {seen} of {n} training images"
    return f"{start} and for {unseen} of {n} unseen images"


# 4. The picture.


def contrast(images: Array, dark: float = 1.0) -> Array:
    """Map each image (n, d) to [0, 1]: this percentile of its pixels is black, the 99th white."""
    low, high = np.percentile(images, [dark, 99.0], axis=1, keepdims=True)
    return np.clip((images - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)


def upright(images: Array) -> Array:
    """Choose the sign of images (m, d) without data: few bright pixels on much darker ground."""
    return np.where(skew(images, axis=1) < 0, -1.0, 1.0)[:, None] * images


def show_image(ax: Axes, image: Array, split: Split) -> None:
    """Show one image, (d,) in [0, 1], without ticks."""
    pixels = np.clip(image.reshape(split.shape), 0, 1).transpose(1, 2, 0)  # (H, W, C)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def draw(
    split: Split,
    candidates: Array,
    blind: Array,
    title: str,
    path: Path,
    *,
    raw: bool = False,
    rows: int = 2,
) -> None:
    """Draw the best reconstructions above their training images, the null, and the blind choice.

    Parameters
    ----------
    split : Split
        The training images and the unseen images.
    candidates : array of shape (m, d)
        Matched one to one with the training images, and with the unseen images.
    blind : array of shape (m, d)
        Images of any sign, in the order in which an attacker without data would show them.
    title : str
    path : Path
    raw : bool
        Whether candidates are images from which no mean was subtracted.
    rows : int
        Rows of pairs of a reconstruction and a training image.
    """
    dark = 10.0 if raw else 1.0  # the ground of digits is black
    seen, unseen = (x + raw * split.mean for x in (split.x, split.unseen_x))
    shown = contrast(candidates + (not raw) * split.mean, dark)  # (m, d)
    columns = min(COLUMNS, len(seen))
    rows = min(rows, -(-len(seen) // columns))
    heights = [1.0, 1.35] * (rows + 1) + [1.0]  # an image in inches, with its score below
    width, height = columns + 0.9, sum(heights) + 0.5
    figure = plt.figure(figsize=(width, height))
    figure.suptitle(title, x=0.01, y=1 - 0.1 / height, ha="left", va="top", fontsize=12)
    grid = figure.add_gridspec(
        len(heights),
        columns,
        height_ratios=heights,
        hspace=0.0,
        wspace=0.05,
        left=0.8 / width,
        right=1 - 0.1 / width,
        top=1 - 0.4 / height,
        bottom=0.1 / height,
    )

    def show(row: int, column: int, image: Array, ncc: float | None, name: str) -> None:
        ax = figure.add_subplot(grid[row, column], anchor="N")
        show_image(ax, image, split)
        if ncc is not None:
            ax.set_xlabel(f"NCC {ncc:.2f}", fontsize=9, labelpad=2)
        if column == 0:
            ax.set_ylabel(name, fontsize=9)

    def pairs(row: int, images: Array, count: int, names: tuple[str, str]) -> None:
        match = match_one_to_one(ncc_all_pairs(images, candidates))
        whole = images + (not raw) * split.mean
        for place, image in enumerate(np.argsort(-match.score)[:count]):
            at, column = row + 2 * (place // columns), place % columns
            show(at, column, shown[match.candidate[image]], None, names[0])
            show(at + 1, column, whole[image], match.score[image], names[1])

    pairs(0, seen, rows * columns, ("recon-\nstruction", "training\nimage"))
    pairs(2 * rows, unseen, columns, ("nearest\ncandidate", "unseen\nimage"))
    for column, image in enumerate(contrast(upright(blind[:columns]), dark)):
        show(len(heights) - 1, column, image, None, "chosen\nwithout\ndata")
    save_figure(figure, path)


# 5. The demo.


def options_of(name: str, what: str, arguments: list[str] | None) -> Any:
    """Read and check the options, and return them with their parser."""
    parser = demo_parser(name, what)
    add = parser.add_argument
    add("--n", type=int, help="number of training images; equally many are of each class")
    add("--classes", type=int, choices=(2, 10), default=2, help="two classes, or all ten")
    add("--width", type=int, default=1000, help="number of neurons in each hidden layer")
    add("--depth", type=int, default=3, help="number of layers, including the output layer")
    add("--restarts", type=int, help="number of random starts of the attack")
    add("--attack", choices=tuple(ATTACKS), default="components", help="which attack to run")
    add("--full", action="store_true", help="use 500 images, as the paper does")
    add("--data", type=Path, help="folder with the official files")
    add("--download", action="store_true", help="download the official files first")
    options = parser.parse_args(arguments)
    if options.depth < 2 or options.width < 1:
        parser.error("expected a --depth of at least 2 and a --width of at least 1")
    if options.restarts is not None and options.restarts < 2:
        parser.error(f"--restarts: expected at least 2, got {options.restarts}")
    return parser, options


def main(name: str, what: str, arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser, options = options_of(name, what, arguments)
    if options.download:
        try:
            download_images(name, progress=True)
        except (ImportError, OSError, ValueError) as error:
            parser.error(str(error))
    images, few = read_images(parser, name, options.data)
    n = options.n or (500 if options.full else 10 if few else 100)
    width, restarts, clock = options.width, options.restarts, Clock()
    if options.quick:
        n, width, restarts = min(n, 10 if options.classes == 2 else 20), 200, 2
    victim = Victim(n=n, classes=options.classes, width=width, depth=options.depth)
    try:
        split = make_split(images, victim)
    except ValueError as error:
        parser.error(str(error))
    clock.say(f"{n} images of {options.classes} classes from {images.source}, width {width}")
    # 1. Train: towards a KKT point of the max-margin problem (P).
    net = train(victim, split, options.seed, clock)
    table: dict[str, Any] = {**victim._asdict(), "seed": options.seed, "source": split.source}
    table |= {"attack": options.attack, "train": training_table(victim, net, split)}
    report = kkt_ref.kkt_report(net.astype(np.float64), split.x, split.y)
    table["stationarity"] = report.stationarity.relative
    clock.say("trained\n" + training_line(table["train"]) + f"\n{report}\n")
    # 2. Attack the weights alone.
    began = clock.seconds
    found = ATTACKS[options.attack](net, split, options.seed, restarts)
    table["seconds_attack"] = clock.seconds - began
    # 3. Only now look at the data again: scores, beside those of unseen images.
    table |= scores(split, found) | {"restarts": len(found.runs)}
    print_scores(table)
    # 4. Draw; digits with the mean that the attack found.
    raw = shows_pictures(found, split)
    pair, level = table["scores_of_pictures" if raw else "scores"], 0.9 if raw else 0.8
    key = "ncc_09" if raw else "ncc_08"
    title = headline(TITLES[name], n, pair["data"][key], pair["unseen"][key], level)
    shown = found.pictures if raw else found.candidates
    blind = found.pictures[::2] if raw else chosen_without_data(found)
    draw(split, shown, blind, title, options.save, raw=raw)
    clock.say(f"picture: {options.save}")
    write_json(options.json, table | {"seconds": clock.seconds})
    return table


def training_line(train: dict[str, Any]) -> str:
    """How training went, in one line."""
    return (
        f"loss {train['loss']:.1e}, train error {train['train_error']:.1%}, test error "
        f"{train['test_error']:.1%} on {train['test_images']} images, margins "
        f"{train['margin_min']:.1f} to {train['margin_max']:.1f}"
    )


def print_scores(table: dict[str, Any]) -> None:
    """Print what was reconstructed, beside chance."""
    n, many = table["n"], table["candidates"]
    print(
        f"attack by {table['attack']}: {table['restarts']} starts, {many} candidates, "
        f"{table['seconds_attack']:.1f} s\n\n"
        "Candidates matched one to one: how many images reach a score, and the mean of the ten best"
    )
    print(f"{'':36}  NCC >= 0.8  >= 0.9  ten best  SSIM, ten best")
    names = {"scores": "images", "scores_of_pictures": "images, with the mean found"}
    for key, what in names.items():
        for which, kind in (("data", "training"), ("unseen", "unseen")):
            if key in table:
                line = table[key][which]
                print(
                    f"  {f'{n} {kind} {what}':34}  {line['ncc_08']:10d}  {line['ncc_09']:6d}  "
                    f"{line['ncc_top10']:8.3f}  {line['ssim_top10']:14.3f}"
                )
    print(
        "Chosen by the agreement of the starts, without data: of the first 20 candidates "
        f"{table['right_of_20']} are training images, of the first 40 {table['right_of_40']}.\n"
    )
