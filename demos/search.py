"""Search the paper's settings (α, λ_min, start, steps) without looking at the data.

    python demos/search.py

The authors drew a hundred settings at random and chose among them by comparing with the
training data (their appendix B).  Here each trial makes two runs and is judged by how well
these agree: what is real comes back in another run, what is accidental does not.  Each
trial is saved, so the same command continues a search that was stopped.  The last column,
which no attacker has, shows how good the choice was.

The candidates of all trials can also be pooled.  The picture shows the score of the pool as
trials are added, beside the attack's default settings.  A larger pool scores higher on images
that the network never saw, too, so the same pool is scored on them.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from image_run import Settings, make_split, score, train
from report import Clock, write_json
from scipy.stats import spearmanr
from search_trial import Trial, default_candidates, run_trial
from study import read_options, study_parser
from style import BLACK, curve, save_figure

import kkt_ref
from kkt_ref._io import claim, write_atomically
from kkt_ref._parallel import run_all
from kkt_ref.metrics.scores import Scores


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


def draw(pooled: list[Scores], single: Scores, top: int, path: Path) -> None:
    """Draw the score of the pool by its number of trials, and that of the default settings."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    ticks = 1 + np.arange(len(pooled))
    names = (f"mean NCC of the {top} best images", "images with NCC ≥ 0.8")
    for ax, name, field in zip(axes, names, ("ncc_top10", "ncc_08"), strict=True):
        for number, which in enumerate(("data", "unseen")):
            images = "training images" if which == "data" else "unseen images"
            values = [getattr(getattr(scores, which), field) for scores in pooled]
            ax.plot(ticks, values, label=f"pool, {images}", **curve(number))
            value = getattr(getattr(single, which), field)
            style = dict(color=BLACK, ls=("-", "--")[number], lw=1.2)
            ax.axhline(value, label=f"default settings, {images}", **style)
        ax.set(xlabel="trials in the pool", ylabel=name)
        ax.grid(True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save_figure(figure, path)


def line(name: str, scores: Scores, count: int) -> str:
    """A line of the table of pools."""
    data, unseen = scores.data, scores.unseen
    return (
        f"{name:28} {data.ncc_top10:.3f} ({unseen.ncc_top10:.3f})  "
        f"{data.ncc_08:3d} ({unseen.ncc_08})  {count:10d}"
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("search", __doc__.split("\n")[0], attack=False)
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--width", type=int, default=200, help="neurons in a hidden layer")
    parser.add_argument("--trials", type=int, default=12, help="number of trials")
    parser.add_argument("--iterations", type=int, default=300, help="L-BFGS iterations, at most")
    options, images, _ = read_options(parser, arguments)
    clock = Clock()
    trials, iterations = (3, 20) if options.quick else (options.trials, options.iterations)
    # 1. Train: towards a KKT point of the max-margin problem (P).
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
    # 2. Attack with the settings of each trial, which minimise the loss (R), and by the default.
    m = 2 * options.n
    found = search(net, options.out, m, trials, iterations, options.seed, clock)
    single = default_candidates(net, m, iterations, options.seed)

    # 3. Score each trial alone; the attacker sees its agreement only.
    print("\ntrial  alpha  lambda_min   start  steps  residual  agreement   true NCC top 10")
    truth, candidates = [], []
    for trial in found:
        with np.load(options.out / f"trial_{trial.number:04d}.npz", allow_pickle=False) as arrays:
            candidates.append(arrays["candidates"])
        truth.append(score(split, candidates[-1]).data.ncc_top10)
        print(
            f"{trial.number:5d}  {trial.alpha:5.0f}  {trial.lambda_min:10.4f}  "
            f"{trial.start_scale:6.3f}  {trial.iterations:5d}  {trial.residual:8.3f}  "
            f"{trial.agreement:9.3f} {truth[-1]:6.3f}"
        )
    correlation = float(spearmanr([trial.agreement for trial in found], truth).statistic)
    print(f"chosen without data: trial {found[0].number}, {truth[0]:.3f}; best {max(truth):.3f}")
    print(f"Spearman's correlation of agreement and truth {correlation:.2f}")

    # 4. Pool the candidates of several trials, the best agreement first, beside the null.
    pooled = [score(split, np.concatenate(candidates[: k + 1])) for k in range(trials)]
    default = score(split, single)
    print(f"\n{'one-to-one scores':28} NCC ten best   >= 0.8  candidates")
    print(line("default settings, one trial", default, len(single)))
    print(line("trial chosen without data", pooled[0], len(candidates[0])))
    print(line(f"pool of {trials} trials", pooled[-1], sum(map(len, candidates))))
    draw(pooled, default, min(10, options.n), options.save)
    clock.say(f"picture: {options.save}")

    def plain(scores: Scores) -> dict[str, Any]:
        return {"data": scores.data._asdict(), "unseen": scores.unseen._asdict()}

    table = {
        "trials": [trial._asdict() | {"truth": t} for trial, t in zip(found, truth, strict=True)],
        "spearman": correlation,
        "default": plain(default),
        "pooled": [plain(scores) for scores in pooled],
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
