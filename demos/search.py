"""Search the paper's settings (α, λ_min, start, steps) without looking at the data.

    python demos/search.py

Trials are drawn from one seed and kept in a folder; the same command goes on where it
stopped.  They are sorted by how well two starts agree; the last column, which no
attacker has, tells how good that choice was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from image_run import Settings, make_split, train
from report import Clock, write_json
from scipy.stats import spearmanr
from study import read_options, study_parser

from kkt_ref._io import OtherRunError, claim
from kkt_ref.attacks.search import Trial, random_search
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("search", __doc__.split("\n")[0], figure=False, attack=False)
    parser.add_argument("--n", type=int, default=20, help="training images")
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=300, help="of L-BFGS, at most")
    options, images, _ = read_options(parser, arguments)
    clock = Clock()
    trials, iterations = (3, 20) if options.quick else (options.trials, options.iterations)
    split = make_split(images, options.n)
    settings = Settings(
        options.images, images.source, options.n, options.width, 3, options.seed, "search"
    )

    def progress(trial: Trial) -> None:
        clock.say(f"trial {trial.number + 1} of {trials}: agreement {trial.agreement:.3f}")

    try:
        folder = claim(options.out / "network", settings._asdict())
        found = random_search(
            train(split, settings, folder).result.net.astype(np.float64),
            options.out,
            candidates=2 * options.n,
            trials=trials,
            seed=options.seed,
            iterations=iterations,
            layer_weights=(1.0, 0.0, 0.0),
            callback=progress,
        )
    except OtherRunError as error:
        parser.error(str(error))
    print("\ntrial  alpha  lambda_min   start  steps  residual  agreement   true NCC top 10")
    truth = []
    for trial in found:
        with np.load(options.out / f"trial_{trial.number:04d}.npz", allow_pickle=False) as arrays:
            match = match_one_to_one(ncc_all_pairs(split.x, arrays["candidates"]))
        truth.append(match.top_mean(10))
        print(
            f"{trial.number:5d}  {trial.alpha:5.0f}  {trial.lambda_min:10.4f}  {trial.start:6.3f}  "
            f"{trial.iterations:5d}  {trial.residual:8.3f}  {trial.agreement:9.3f} {truth[-1]:6.3f}"
        )
    correlation = float(spearmanr([trial.agreement for trial in found], truth).statistic)
    print(f"chosen without data: trial {found[0].number}, {truth[0]:.3f}; best {max(truth):.3f}")
    print(f"Spearman's correlation of agreement and truth {correlation:.2f}")
    table = {
        "trials": [trial._asdict() | {"truth": t} for trial, t in zip(found, truth, strict=True)],
        "spearman": correlation,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
