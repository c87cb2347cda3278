"""The image attack on other images, widths, depths and starts, with all its settings unchanged.

    python demos/elsewhere.py
    python demos/elsewhere.py --groups start --restarts 4

Each line trains one network and attacks it with the same settings.  It prints the one-to-one
scores on the training images and, in brackets, on as many unseen images.  The picture shows how
many images come back from each network.  A large start hides how many directions of layer 1 come
from the data, so that the attack tries more candidates and takes minutes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from image_run import Settings, by_first_layer, make_split, score, train
from plot_images import TITLES
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser
from style import BLUE, GREY, VERMILLION, save_figure

from kkt_ref.datasets.images import ImageSet
from kkt_ref.kkt.equation import residual_floor


class Case(NamedTuple):
    """A network that was not used to choose the settings of the attack."""

    group: str
    what: str
    skip: float = 0.0  # fraction of the file's images that are skipped
    width: int = 1000
    depth: int = 3
    first_layer: float | None = 1e-4  # scale of its start; None: PyTorch's default
    bias: str = "first"  # which layers have one


CASES = (
    Case("paper", "as in the other demos"),
    Case("images", "images from the middle of the file", skip=0.4),
    Case("images", "images from the end of the file", skip=0.7),
    Case("width", "width 250", width=250),
    Case("width", "width 500", width=500),
    Case("width", "width 2000", width=2000),
    Case("depth", "two layers", depth=2),
    Case("depth", "four layers", depth=4),
    Case("depth", "five layers", depth=5),
    Case("bias", "biases in every layer", bias="all"),
    Case("start", "layer 1 starts at 1e-3", first_layer=1e-3),
    Case("start", "layer 1 starts at 3e-3", first_layer=3e-3),
    Case("start", "layer 1 starts at 1e-2", first_layer=1e-2),
    Case("start", "layer 1 starts at PyTorch's default", first_layer=None),
    Case("start", "the default start, biases in every layer", first_layer=None, bias="all"),
)
GROUPS = ("images", "width", "depth", "bias", "start")


def without_first(images: ImageSet, fraction: float) -> ImageSet:
    """Leave out this fraction of the images, from the beginning of the file."""
    skip = int(fraction * len(images.images))
    return replace(images, images=images.images[skip:], labels=images.labels[skip:])


def draw(rows: list[dict[str, Any]], images: str, path: Path) -> None:
    """Draw a line for each network: how many training and unseen images have NCC >= 0.8."""
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.8), layout="constrained")
    places = range(len(rows))
    counts = [row["ncc_08"] for row in rows]
    ax.hlines(places, 0, counts, color=GREY, lw=1)
    ax.scatter(counts, places, s=60, color=BLUE, label="training images", zorder=3)
    null = [row["null_ncc_08"] for row in rows]
    ax.scatter(
        null, places, s=60, marker="s", ec=VERMILLION, fc="white", label="unseen images", zorder=2
    )
    ax.set_yticks(places, [row["case"] for row in rows])
    ax.invert_yaxis()
    ax.set(
        xlabel=f"images of {rows[0]['n']} with NCC ≥ 0.8", title=f"{images}, the same attack on all"
    )
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(True, axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the study and return one row for each network."""
    parser = study_parser("elsewhere", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    parser.add_argument(
        "--groups",
        nargs="+",
        choices=GROUPS,
        default=GROUPS[:-1],
        help="what differs from the paper; all but the start unless given",
    )
    options, images, few = read_options(parser, arguments)
    n, restarts, shrink = (4, 2, 10) if few else (options.n, options.restarts, 1)
    chosen = [case for case in CASES if case.group in ("paper", *options.groups)]
    clock, rows = Clock(), list[dict[str, Any]]()
    for number, case in enumerate(chosen[:: 3 if few else 1]):
        # 1. Train: towards a KKT point of the max-margin problem (P).
        split = make_split(without_first(images, 0.0 if few else case.skip), n)
        settings = Settings(
            options.images,
            images.source,
            n,
            case.width // shrink,
            case.depth,
            options.seed,
            "elsewhere",
            first_layer=case.first_layer,
            bias=case.bias,
        )
        known = {**settings._asdict(), "skip": case.skip}
        folder = fresh_folder(options.out / str(number), known)
        trained = train(split, settings, folder)
        net = trained.result.net
        # 2. The floor: the residual of stationarity (S) in layer 1 on the true data.
        weights = (1.0, *(0.0,) * (net.depth - 1))
        floor = residual_floor(net.astype(float), split.x, split.y, layer_weights=weights)
        # 3. Attack stationarity (S) in layer 1, and score beside as many unseen images.
        attacked = by_first_layer(net, settings, folder, restarts)
        found = attacked.found.candidates
        scores = score(split, found)
        rows.append(
            {
                "case": case.what,
                "n": n,
                "width": settings.width,
                "depth": case.depth,
                "floor_layer_1": floor.by_layer[0],
                "seconds_training": trained.seconds,
                "seconds": attacked.seconds,
                **scores.data._asdict(),
                **{f"null_{key}": value for key, value in scores.unseen._asdict().items()},
            }
        )
        write_json(options.json, rows)
        draw(rows, TITLES[options.images], options.save)
        one = rows[-1]
        clock.say(
            f"{case.what}: NCC >= 0.8 {one['ncc_08']} ({one['null_ncc_08']}), top 10 "
            f"{one['ncc_top10']:.3f} ({one['null_ncc_top10']:.3f}), SSIM top 10 "
            f"{one['ssim_top10']:.3f} ({one['null_ssim_top10']:.3f}); floor of layer 1 "
            f"{one['floor_layer_1']:.3f}; training {one['seconds_training']:.0f} s, "
            f"attack {one['seconds']:.0f} s"
        )
    return rows


if __name__ == "__main__":
    main()
