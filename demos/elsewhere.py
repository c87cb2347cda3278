"""The image attack on other images, widths and depths, with all its settings unchanged.

    python demos/elsewhere.py

Each line trains one network as in the other demos and attacks it with the same settings.  It prints
the one-to-one scores on the training images and, in brackets, on as many unseen images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from image_run import Settings, by_first_layer, make_split, train
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser

from kkt_ref.datasets.images import ImageSet
from kkt_ref.kkt.conditions import residual_floor
from kkt_ref.metrics.scores import score_candidates


class Case(NamedTuple):
    """A network that was not used to choose the settings of the attack."""

    what: str
    skip: float = 0.0  # fraction of the file's images that are skipped
    width: int = 1000
    depth: int = 3


CASES = (
    Case("as in the other demos"),
    Case("images from the middle of the file", skip=0.4),
    Case("images from the end of the file", skip=0.7),
    Case("width 250", width=250),
    Case("width 500", width=500),
    Case("width 2000", width=2000),
    Case("two layers", depth=2),
    Case("four layers", depth=4),
)


def without_first(images: ImageSet, fraction: float) -> ImageSet:
    """Leave out this fraction of the images, from the beginning of the file."""
    skip = int(fraction * len(images.images))
    return replace(images, images=images.images[skip:], labels=images.labels[skip:])


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the study and return one row for each network."""
    parser = study_parser("elsewhere", __doc__.split("\n")[0], figure=False)
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    options, images, few = read_options(parser, arguments)
    n, restarts, shrink = (4, 2, 10) if few else (options.n, options.restarts, 1)
    clock, rows = Clock(), list[dict[str, Any]]()
    for number, case in enumerate(CASES[:: 3 if few else 1]):
        split = make_split(without_first(images, 0.0 if few else case.skip), n)
        width = case.width // shrink
        settings = Settings(
            options.images, images.source, n, width, case.depth, options.seed, "elsewhere"
        )
        known = {**settings._asdict(), "skip": case.skip}
        folder = fresh_folder(options.out / str(number), known)
        trained = train(split, settings, folder)
        net = trained.result.net
        weights = (1.0, *(0.0,) * (net.depth - 1))
        floor = residual_floor(net.astype(float), split.x, split.y, layer_weights=weights)
        attacked = by_first_layer(net, settings, folder, restarts)
        found = attacked.found.candidates
        scores = score_candidates(
            split.x, found, split.unseen_x, mean=split.mean, shape=split.shape
        )
        rows.append(
            {
                "case": case.what,
                "n": n,
                "width": width,
                "depth": case.depth,
                "floor_layer_1": floor.by_layer[0],
                "seconds_training": trained.seconds,
                "seconds": attacked.seconds,
                **scores.data._asdict(),
                **{f"null_{key}": value for key, value in scores.unseen._asdict().items()},
            }
        )
        write_json(options.json, rows)
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
