"""How many images the first-layer equation can give, and how near to them a start must be.

    python demos/basin.py

The first line assumes that the signals and multipliers of the training images are known, and solves
for the images.  The next lines start the alternation at the training images, after projecting them
on the first layer's singular directions and adding noise; its level is relative to the standard
deviation of each coordinate.  The last lines start at random.  An image counts if its own candidate
has an NCC of at least 0.8 with it, in either sign; for random starts, if any candidate has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from image_run import Settings, make_split, train
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser

from kkt_ref.attacks.alternating import Alternation, alternate
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.metrics.ncc import ncc_all_pairs

NOISE = (0.0, 0.1, 0.2, 0.3, 0.6, 1.0)
Array = np.ndarray


def near(images: Array, candidates: Array) -> int:
    """Count the images with NCC >= 0.8 to the candidate in the same row, in either sign."""
    return int(np.sum(np.abs(np.diag(ncc_all_pairs(images, candidates))) >= 0.8))


def known_signals(problem: FirstLayer, truth: Array) -> Array:
    """Solve for candidates (n, k) by ridge regression, given the signals of the training images."""
    atoms = problem.atoms(problem.normalised(truth))
    multipliers, _ = problem.fit(atoms)
    delta = multipliers[:, None] * atoms.signals  # (n, h)
    normal = delta @ delta.T  # (n, n)
    ridge = 0.1 * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.linalg.solve(normal + ridge, delta @ problem.target[:, :-1]) / problem.weights


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the study and return one row for each printed line."""
    parser = study_parser("basin", __doc__.split("\n")[0], figure=False, attack=False)
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    options, images, few = read_options(parser, arguments)
    n, width = (10 if few else options.n), (200 if options.quick else 1000)
    split, clock = make_split(images, n), Clock()
    settings = Settings(options.images, images.source, n, width, 3, options.seed, "basin")
    folder = fresh_folder(options.out, settings._asdict())
    # 1. Train: towards a KKT point of the max-margin problem (P).
    problem = FirstLayer(train(split, settings, folder).result.net)
    # 2. Project the training images on the coordinates of the first layer's equation (S).
    truth = np.float32(split.x @ problem.basis.T)  # (n, k)
    rng, rows = np.random.default_rng(options.seed), list[dict[str, Any]]()

    # 3. Solve for the images from their own signals.
    known = near(split.x, known_signals(problem, truth) @ problem.basis)
    print(f"signals known: {known} of {n} at NCC >= 0.8", flush=True)
    rows.append({"images": options.images, "n": n, "signals known": known})

    def tell(noise: float | None, begun: int | None, end: int, ended: Alternation) -> None:
        start = f"noise {noise}" if noise is not None else "random"
        begun_at = "" if begun is None else f"{begun:3d} of {n} at NCC >= 0.8"
        print(f"{start:10} {begun_at:22} end {end:3d}, residual {ended.residual:.3f}", flush=True)
        row = {"noise": noise, "begun": begun, "end": end, "residual": ended.residual}
        rows.append({"images": options.images, "n": n, **row})

    # 4. Start the alternation at the training images with noise, then at random.
    for noise in NOISE:
        blur = noise * truth.std(axis=0) * rng.normal(size=truth.shape)  # (n, k)
        start = np.float32(truth + blur)
        ended = alternate(problem, start)
        begun = near(split.x, start @ problem.basis)
        tell(noise, begun, near(split.x, ended.coordinates @ problem.basis), ended)
    for _ in range(3):
        ended = alternate(problem, rng.normal(size=(problem.default_candidates, problem.k)))
        scores = np.abs(ncc_all_pairs(split.x, ended.coordinates @ problem.basis))  # (n, m)
        tell(None, None, int(np.sum(scores.max(axis=1) >= 0.8)), ended)
    clock.say("done")
    write_json(options.json, rows)
    return rows


if __name__ == "__main__":
    main()
