"""Compare the attack with model inversion, rows of the first layer, and averages.

    python demos/baselines.py

The demo trains one network and scores the images of each method in the same way: matched one
to one with the training images, and with as many images that the network never saw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from image_run import Settings, by_first_layer, make_split, score, train
from plot_images import headline, show_image
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser
from style import save_figure

from kkt_ref.attacks.baselines import first_layer_rows, model_inversion
from kkt_ref.datasets.split import Split
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.scores import stretch

COLUMNS = 10


def class_averages(x: np.ndarray, y: np.ndarray, of: int, count: int, seed: int) -> np.ndarray:
    """Average ``of`` random images of one class, ``count`` times, the classes in turn."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(y == sign) for sign in (-1, 1)]
    chosen = [rng.choice(classes[i % 2], size=of, replace=False) for i in range(count)]
    return np.stack([x[rows].mean(axis=0) for rows in chosen])  # (count, d)


def methods(split: Split, net: Any, settings: Settings, folder: Path, restarts: int) -> Any:
    """Return the candidates (m, d) of each method by its name."""
    # 2. Model inversion: the images with the largest |Φ|; it uses no KKT condition.
    inverted, _ = model_inversion(
        net, low=-split.mean, high=1 - split.mean, starts=min(settings.n, 20), seed=settings.seed
    )
    # 3. Averages of training images: not an attack, but they show the score of a blurred image.
    averages = class_averages(
        split.x, split.y, min(5, settings.n // 2), 2 * settings.n, settings.seed
    )
    # 4. Ours: stationarity (S) in the first layer.
    found = by_first_layer(net, settings, folder, restarts).found
    images = {
        "ours, from the weights": found.candidates,
        "model inversion": inverted,
        "rows of the first layer": first_layer_rows(net),
        "averages of 5 training images": averages,
    }
    norm = np.linalg.norm(found.candidates[0])  # one norm for all: SSIM depends on it
    return {
        name: x * (norm / np.linalg.norm(x, axis=1, keepdims=True)) for name, x in images.items()
    }


def draw(split: Split, found: dict[str, np.ndarray], titles: dict[str, str], path: Path) -> None:
    """Draw the best images of each method above the training images that they match."""
    columns = min(COLUMNS, len(split.x))
    figure = plt.figure(figsize=(columns + 0.5, 2.6 * len(found)), layout="constrained")
    panels = figure.subfigures(len(found), 1)
    for panel, (name, candidates) in zip(panels, found.items(), strict=True):
        panel.suptitle(titles[name], x=0.01, ha="left", fontsize=10)
        axes = panel.subplots(2, columns)
        match = match_one_to_one(ncc_all_pairs(split.x, candidates))
        for column, image in enumerate(np.argsort(-match.score)[:columns]):
            shown = stretch(candidates[[match.candidate[image]]] + split.mean)[0]
            if match.candidate[image] < 0:  # fewer candidates than images
                shown = np.ones_like(shown)
            for row, pixels in ((0, shown), (1, split.x[image] + split.mean)):
                show_image(axes[row, column], pixels, split)
            axes[1, column].set_xlabel(f"NCC {match.score[image]:.2f}", fontsize=9, labelpad=2)
        axes[0, 0].set_ylabel("candidate", fontsize=9)
        axes[1, 0].set_ylabel("training\nimage", fontsize=9)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("baselines", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, help="number of training images")
    parser.add_argument("--width", type=int, default=1000, help="neurons in a hidden layer")
    options, images, few = read_options(parser, arguments)
    clock = Clock()
    n = options.n or (10 if few else 100)
    width, restarts = (200, 4) if options.quick else (options.width, options.restarts)
    settings = Settings(options.images, images.source, n, width, 3, options.seed, "first-layer")
    folder = fresh_folder(options.out, settings._asdict())

    # 1. Train: towards a KKT point of the max-margin problem (P).
    split = make_split(images, n)
    net = train(split, settings, folder).result.net
    found = methods(split, net, settings, folder, restarts)
    table: dict[str, Any] = {"n": n, "width": width, "images": options.images, "methods": {}}
    titles = {}
    print(f"\nMatched one to one with {n} training images / with {n} unseen images:")
    print(f"{'':32}  NCC: ten best  >= 0.8    SSIM: ten best  candidates")
    # 5. Score all methods in the same way.
    for name, candidates in found.items():
        data, unseen = score(split, candidates)
        print(
            f"{name:32}  {data.ncc_top10:5.2f} / {unseen.ncc_top10:4.2f}   {data.ncc_08:3d} / "
            f"{unseen.ncc_08:<3d}   {data.ssim_top10:5.2f} / {unseen.ssim_top10:4.2f}     "
            f"{len(candidates):9d}"
        )
        titles[name] = headline(name, n, data.ncc_08, unseen.ncc_08)
        table["methods"][name] = {"data": data._asdict(), "unseen": unseen._asdict()}
    draw(split, found, titles, options.save)
    clock.say(f"picture: {options.save}")
    table["seconds"] = clock.seconds
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
