"""Search the paper's settings (α, λ_min, start, steps) without looking at the data.

    python demos/search.py

The authors drew a hundred settings at random and chose among them by comparing with the
training data (their appendix B).  Here each trial makes two runs and is judged by how well
these agree: what is real comes back in another run, what is accidental does not.  Each
trial is saved, so the same command continues a search that was stopped.  The last column,
which no attacker has, shows how good the choice was.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from image_run import Settings, make_split, train
from report import Clock, write_json
from scipy.stats import spearmanr
from search_trial import Trial, run_trial
from study import read_options, study_parser

import kkt_ref
from kkt_ref._io import claim, write_atomically
from kkt_ref._parallel import run_all
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs


def search(
    net: kkt_ref.MLP, folder: Path, m: int, trials: int, iterations: int, seed: int, clock: Clock
) -> list[Trial]:
    """Run the trials that are not in the folder yet; return all, best agreement first."""
    paths = [folder / f"trial_{number:04d}.json" for number in range(trials)]

    def save(number: int, ended: tuple[Trial, np.ndarray]) -> None:
        trial, candidates = ended
        with write_atomically(paths[number].with_suffix(".npz")) as file:
            np.savez(file, candidates=candidates)
        with write_atomically(paths[number]) as file:  # last: a trial with this file is complete
            file.write(json.dumps(trial._asdict()).encode())
        clock.say(f"trial {number + 1} of {trials}: agreement {trial.agreement:.3f}")

    missing = [number for number, path in enumerate(paths) if not path.exists()]
    run_all(partial(run_trial, net, m, iterations, seed), missing, save)
    done = [Trial(**json.loads(path.read_text())) for path in paths]
    return sorted(done, key=lambda trial: -trial.agreement)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("search", __doc__.split("\n")[0], figure=False, attack=False)
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--width", type=int, default=200, help="neurons in a hidden layer")
    parser.add_argument("--trials", type=int, default=12, help="number of trials")
    parser.add_argument("--iterations", type=int, default=300, help="L-BFGS iterations, at most")
    options, images, _ = read_options(parser, arguments)
    clock = Clock()
    trials, iterations = (3, 20) if options.quick else (options.trials, options.iterations)
    split = make_split(images, options.n)
    settings = Settings(
        options.images, images.source, options.n, options.width, 3, options.seed, "search"
    )
    try:
        claim(options.out, settings._asdict() | {"iterations": iterations})
        folder = claim(options.out / "network", settings._asdict())
    except ValueError as error:
        parser.error(str(error))
    net = train(split, settings, folder).result.net.astype(np.float64)
    found = search(net, options.out, 2 * options.n, trials, iterations, options.seed, clock)

    print("\ntrial  alpha  lambda_min   start  steps  residual  agreement   true NCC top 10")
    truth = []
    for trial in found:
        with np.load(options.out / f"trial_{trial.number:04d}.npz", allow_pickle=False) as arrays:
            match = match_one_to_one(ncc_all_pairs(split.x, arrays["candidates"]))
        truth.append(match.top_mean(10))
        print(
            f"{trial.number:5d}  {trial.alpha:5.0f}  {trial.lambda_min:10.4f}  "
            f"{trial.start_scale:6.3f}  {trial.iterations:5d}  {trial.residual:8.3f}  "
            f"{trial.agreement:9.3f} {truth[-1]:6.3f}"
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
