"""What the image demos share: train, attack, score; each step with its state on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report import Progress

import kkt_ref
from kkt_ref.attacks.alternating import Start
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.pooling import pool_starts
from kkt_ref.attacks.resume import Resumed, resumable_descent, resumable_starts
from kkt_ref.datasets.images import ImageSet
from kkt_ref.datasets.split import POSITIVE, BinarySplit, binary_split
from kkt_ref.metrics.ranking import ranking_agreement
from kkt_ref.metrics.scores import score_candidates
from kkt_ref.training.logistic import log_mean_loss

TARGET = 4e-6  # mean logistic loss at which the paper's networks were stopped
RATE = 6.0


class Settings(NamedTuple):
    """All that decides a run's result, but the number of starts."""

    name: str
    source: str
    n: int
    width: int
    depth: int
    seed: int
    attack: str


def make_split(images: ImageSet, n: int) -> BinarySplit:
    """The paper's split with as many unseen images, and up to 1000 for the test error."""
    positive = np.isin(images.test_labels, POSITIVE[images.name])
    test = min(1000, 2 * int(min(positive.sum(), (~positive).sum())))
    return binary_split(images, n, unseen=n, test=test)


def train(split: BinarySplit, settings: Settings, folder: Path) -> Resumed:
    """Loss-scaled descent from the paper's start, in float32, to a mean loss of 4e-6."""
    widths = (split.x.shape[1], *(settings.width,) * (settings.depth - 1), 1)
    start = kkt_ref.init_paper(widths, np.random.default_rng(settings.seed)).astype(np.float32)
    bar, first = Progress("training"), np.log(np.log(2.0))

    def progress(record: kkt_ref.Record, net: kkt_ref.MLP) -> None:
        fraction = (first - record.log_loss) / (first - np.log(TARGET))
        bar.show(fraction, f"step {record.step}, loss {np.exp(record.log_loss):.1e}")

    return resumable_descent(
        folder,
        start,
        split.x.astype(np.float32),
        split.y.astype(np.float32),
        rate=RATE,
        target_loss=TARGET,
        callback=progress,
    )


class Attacked(NamedTuple):
    """What an attack gave."""

    result: kkt_ref.Reconstruction
    seconds: float
    reached: float  # smallest relative residual of layer 1, with the attack's own gates


def by_first_layer(net: kkt_ref.MLP, settings: Settings, folder: Path, restarts: int) -> Attacked:
    """Alternating least squares on the whitened first layer; weights in, images out."""
    problem, bar = FirstLayer(net), Progress("reconstruct")
    bar.show(0.0)

    def progress(restart: int, start: Start) -> None:
        bar.show((restart + 1) / restarts, f"start {restart + 1}, residual {start.residual:.3f}")

    starts, seconds = resumable_starts(
        folder,
        problem,
        candidates=problem.candidates,
        seed=settings.seed,
        restarts=restarts,
        callback=progress,
    )
    began = time.perf_counter()
    found = pool_starts(problem, starts, keep=8 * problem.candidates, seed=settings.seed)
    reached = min(problem.plain_residual(one.coordinates, one.multipliers) for one in starts)
    return Attacked(found, seconds + time.perf_counter() - began, reached)


def by_paper(net: kkt_ref.MLP, settings: Settings, folder: Path, restarts: int) -> Attacked:
    """The published loss in pixels, with L-BFGS and its weight on the first layer."""
    bar, iterations = Progress("reconstruct"), 300

    def progress(stage: str, run: int, x: np.ndarray, multipliers: np.ndarray) -> None:
        nonlocal done
        done += 1
        bar.show(done / (iterations * restarts), f"start {run + 1}")

    done = 0
    began = time.perf_counter()
    found = kkt_ref.reconstruct_paper(
        net.astype(np.float64),
        candidates=2 * settings.n,
        seed=settings.seed,
        alpha=kkt_ref.gate_alpha(net, 0.25),
        layer_weights=(1.0, *(0.0,) * (net.depth - 1)),
        restarts=restarts,
        max_iterations=iterations,
        callback=progress,
    )
    seconds = time.perf_counter() - began
    return Attacked(found, seconds, found.runs[found.best].objective ** 0.5)


Attack = Callable[[kkt_ref.MLP, Settings, Path, int], Attacked]
ATTACKS: dict[str, Attack] = {"first-layer": by_first_layer, "paper": by_paper}


class Outcome(NamedTuple):
    """A finished run."""

    split: BinarySplit
    net: kkt_ref.MLP
    found: kkt_ref.Reconstruction
    table: dict[str, Any]


def run(images: ImageSet, settings: Settings, folder: Path, restarts: int) -> Outcome:
    """Train, attack the weights, and only then look at the data again to score."""
    split, began = make_split(images, settings.n), time.perf_counter()
    # 1. Train: towards a KKT point of the max-margin problem (P).
    trained, train_seconds = train(split, settings, folder)
    net = trained.net.astype(np.float64)
    # 2. Attack: stationarity (S) in the first layer, or the published loss (R).
    attack = ATTACKS[settings.attack]
    found, attack_seconds, reached = attack(trained.net, settings, folder, restarts)

    # 3. Judge: the conditions on the true data, and the scores beside their null.
    table = {
        "n": settings.n,
        "width": settings.width,
        "depth": settings.depth,
        "seed": settings.seed,
        "source": settings.source,
        "attack": settings.attack,
        "restarts": len(found.runs),
        "candidates": len(found.candidates),
        "train": {"seconds": train_seconds, **training_table(trained, split)},
        **conditions(net, split),
        "reached_layer_1": reached,
        "reconstruct_seconds": attack_seconds,
        **scores(split, found),
    }
    table["seconds"] = time.perf_counter() - began
    return Outcome(split, net, found, table)


def training_table(trained: kkt_ref.TrainResult, split: BinarySplit) -> dict[str, Any]:
    """Loss, margins, train and test error; the unseen images serve where there is no test file."""
    net = trained.net.astype(np.float64)
    margins = kkt_ref.margins(net, split.x, split.y)
    tested = (split.test_x, split.test_y) if len(split.test_y) else (split.unseen_x, split.unseen_y)
    return {
        "steps": trained.steps,
        "loss": float(np.exp(log_mean_loss(margins))),
        "converged": trained.converged,
        "train_error": float(np.mean(margins <= 0)),
        "test_error": float(np.mean(kkt_ref.margins(net, *tested) <= 0)),
        "test_images": len(tested[1]),
        "margin_min": float(margins.min()),
        "margin_median": float(np.median(margins)),
        "margin_max": float(margins.max()),
    }


def conditions(net: kkt_ref.MLP, split: BinarySplit) -> dict[str, Any]:
    """The KKT conditions on the true data, and the floor of the residual, whole and layer 1."""
    report = kkt_ref.kkt_report(net, split.x, split.y)
    first_only = (1.0, *(0.0,) * (net.depth - 1))
    floor = kkt_ref.residual_floor(net, split.x, split.y)
    floor_1 = kkt_ref.residual_floor(net, split.x, split.y, layer_weights=first_only)
    return {
        "kkt": {
            "stationarity": report.stationarity.relative,
            "stationarity_by_layer": report.stationarity.by_layer,
            "primal_feasibility": report.primal_feasibility,
            "dual_feasibility": report.dual_feasibility,
            "complementary_slackness": report.complementary_slackness.relative,
            "epsilon": report.epsilon,
            "delta": report.delta,
        },
        "floor": floor.relative,
        "floor_layer_1": floor_1.by_layer[0],
    }


def scores(split: BinarySplit, found: kkt_ref.Reconstruction) -> dict[str, Any]:
    """Scores on the data beside the null, and how well agreement ranks without the data."""
    scored = score_candidates(
        split.x, found.candidates, split.unseen_x, mean=split.mean, shape=split.shape
    )
    table: dict[str, Any] = {
        "scores": {
            "data": scored.data._asdict(),
            "unseen": scored.unseen._asdict(),
            "difference": scored.difference._asdict(),
        }
    }
    if found.agreement is not None:
        table["ranking_agreement"] = ranking_agreement(
            found.agreement[::2], split.x, found.candidates[::2], either_sign=True
        )
    return table
