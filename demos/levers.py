"""What each idea brings: the attack built up lever by lever, same networks, same seconds.

    python demos/levers.py

Each line is one way to attack the same trained networks for the same processor time.
Scores are one to one against the training images, beside the same against as many unseen
ones; the median over the seeds counts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmark_recipes import sgd
from image_run import Settings, make_split, train
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser

import kkt_ref
from kkt_ref.attacks.alternating import Alternation, alternate
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.pooling import pool_alternations
from kkt_ref.kkt.equation import residual_floor
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs

FLAT = 1e6  # a noise level this far above all singular values weights them alike
Array = np.ndarray
Way = Callable[[kkt_ref.MLP, int, float], Array]


class OutOfTime(Exception):
    """Ends an attack from within its callback."""


def as_published(net: kkt_ref.MLP, n: int, seconds: float) -> Array:
    """The published loss with its penalties, by the paper's SGD, for all the time there is."""
    return sgd(net.astype(np.float64), 2 * n, seconds, time.process_time)[2]


def by_pixels(**changes: Any) -> Way:
    """L-BFGS on the stationarity loss in pixels, as many starts as the time allows."""

    def attack(net: kkt_ref.MLP, n: int, seconds: float) -> Array:
        net, end = net.astype(np.float64), time.process_time() + seconds
        latest: dict[int, Array] = {}

        def keep(stage: str, run: int, x: Array, multipliers: Array) -> None:
            latest[run] = x
            if time.process_time() > end:
                raise OutOfTime

        settings = dict(
            alpha=kkt_ref.attacks.gate_alpha(net, 0.25),
            layer_weights=(1.0, *(0.0,) * (net.depth - 1)),
            max_iterations=300,
        )
        for name, value in changes.items():
            settings[name] = value(net) if callable(value) else value
        with contextlib.suppress(OutOfTime):
            kkt_ref.attacks.reconstruct_paper(
                net, m=2 * n, restarts=1000, callback=keep, workers=1, **settings
            )
        return np.concatenate(list(latest.values()))

    return attack


def by_layer(*, starts_at_most: int | None = None, **changes: Any) -> Way:
    """Alternating least squares on the first layer, as many starts as the time allows."""

    def attack(net: kkt_ref.MLP, n: int, seconds: float) -> Array:
        problem, end = FirstLayer(net, **changes), time.process_time() + seconds
        m, starts = problem.default_candidates, list[Alternation]()
        while len(starts) < 2 or (time.process_time() < end and len(starts) != starts_at_most):
            rng = np.random.default_rng([0, len(starts)])
            starts.append(alternate(problem, rng.normal(size=(m, problem.k))))
        return pool_alternations(problem, starts).candidates

    return attack


def alphas(net: kkt_ref.MLP) -> list[float]:
    """Three stages, to four times the usual sharpness."""
    sharp = kkt_ref.attacks.gate_alpha(net, 0.25)
    return [sharp / 4, sharp, 4 * sharp]


WAYS: dict[str, Way] = {
    "the published loss, by the paper's SGD": as_published,
    "its stationarity by L-BFGS, all layers": by_pixels(layer_weights=None),
    "first layer only": by_pixels(),
    "  and alpha in three stages": by_pixels(alpha=alphas, max_iterations=60),
    "alternating least squares, not whitened": by_layer(noise=(FLAT, FLAT)),
    "  whitened on the inputs": by_layer(noise=(FLAT, 0.1)),
    "  whitened on the neurons": by_layer(noise=(0.1, FLAT)),
    "  on both: the recommended way": by_layer(),
    "    two starts only": by_layer(starts_at_most=2),
    "    soft gates (sharpness 5)": by_layer(sharpness=5.0),
    "    hard gates (sharpness 1000)": by_layer(sharpness=1000.0),
    "    half the noise level": by_layer(noise=(0.05, 0.05)),
    "    twice the noise level": by_layer(noise=(0.2, 0.2)),
}


def scores(split: Any, found: Array) -> dict[str, float]:
    """Counts and means on the training images and, with the prefix null, on unseen ones."""
    table: dict[str, float] = {}
    for prefix, images in (("", split.x), ("null_", split.unseen_x)):
        match = match_one_to_one(ncc_all_pairs(images, found))
        table |= {f"{prefix}ncc_08": match.count(0.8), f"{prefix}ncc_top10": match.top_mean(10)}
    return table


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the study and return its table."""
    parser = study_parser("levers", __doc__.split("\n")[0], figure=False, attack=False)
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    parser.add_argument("--width", type=int, default=1000, help="neurons in a hidden layer")
    parser.add_argument("--seeds", type=int, default=3, help="number of networks")
    parser.add_argument("--seconds", type=float, default=10.0, help="of processor time for each")
    options, images, few = read_options(parser, arguments)
    n = 10 if few else options.n
    width, seeds, seconds = (
        (200, 1, 1.0)
        if options.quick
        else (
            options.width,
            options.seeds,
            options.seconds,
        )
    )
    clock, networks = Clock(), []
    split = make_split(images, n)
    for seed in range(options.seed, options.seed + seeds):
        settings = Settings(options.images, images.source, n, width, 3, seed, "levers")
        folder = fresh_folder(options.out / str(seed), settings._asdict())
        networks.append(train(split, settings, folder).result.net)
        floor = residual_floor(
            networks[-1].astype(np.float64), split.x, split.y, layer_weights=(1.0, 0.0, 0.0)
        )
        clock.say(f"network {seed}: floor of layer 1 on the true data {floor.by_layer[0]:.3f}")
    print(f"\n{options.images}, n = {n}, {seconds:.0f} s each, median of {seeds} networks")
    print(f"{'':42} >= 0.8 (unseen)   NCC top 10 (unseen)")
    table: dict[str, Any] = {"images": options.images, "n": n, "seconds_each": seconds, "ways": {}}
    for name, way in WAYS.items():
        each = [scores(split, way(net, n, seconds)) for net in networks]
        line = {key: float(np.median([one[key] for one in each])) for key in each[0]}
        print(
            f"{name:42} {line['ncc_08']:5.0f} ({line['null_ncc_08']:.0f})       "
            f"{line['ncc_top10']:6.3f} ({line['null_ncc_top10']:.3f})",
            flush=True,
        )
        table["ways"][name.strip()] = {"median": line, "each": each}
        write_json(options.json, table)
    clock.say("done")
    return table


if __name__ == "__main__":
    main()
