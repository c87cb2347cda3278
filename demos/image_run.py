"""The steps that the image demos share: train, attack, score.  Long steps save their state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report import Progress
from scipy.stats import spearmanr

import kkt_ref
from kkt_ref._io import read_npz, write_atomically
from kkt_ref.attacks.alternating import Alternation
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.pooling import pool_alternations
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.datasets.images import ImageSet
from kkt_ref.datasets.split import POSITIVE, Split, binary_split, ten_class_split
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.scores import Scores, score_candidates
from kkt_ref.training import TrainResult

TARGET = 4e-6  # mean logistic loss at which the paper's networks were stopped
RATE = 6.0


class Settings(NamedTuple):
    """Everything that decides a run's result, except the number of starts."""

    name: str
    source: str
    n: int
    width: int
    depth: int
    seed: int
    attack: str
    classes: int = 2
    first_layer: float | None = 1e-4  # scale of its start; None: PyTorch's default
    bias: str = "first"  # or "all": which layers have one


def make_split(images: ImageSet, n: int, classes: int = 2) -> Split:
    """The paper's split, or all ten classes; n unseen images, and up to 1000 for the test error."""
    if classes == 10:
        least = int(np.bincount(images.test_labels, minlength=10).min())
        return ten_class_split(images, n, unseen=n, test=min(1000, 10 * least))
    positive = np.isin(images.test_labels, POSITIVE[images.name])
    test = min(1000, 2 * int(min(positive.sum(), (~positive).sum())))
    return binary_split(images, n, unseen=n, test=test)


class Trained(NamedTuple):
    """The result of a training, and the seconds that all its parts took together."""

    result: TrainResult
    seconds: float


def start(widths: tuple[int, ...], settings: Settings) -> kkt_ref.MLP:
    """The network before training: the paper's start unless the settings have another."""
    rng = np.random.default_rng(settings.seed)
    net = kkt_ref.init_uniform(widths, rng, bias=settings.bias)
    if settings.first_layer is not None:
        net = net.with_normal_first_layer(settings.first_layer, rng)
    return net.astype(np.float32)


def train(split: Split, settings: Settings, folder: Path) -> Trained:
    """Train by loss-scaled descent in float32, from the start to a mean loss of 4e-6.

    The folder keeps the network every 20 seconds.  Descent has no other state, so that a stopped
    training ends with the same numbers as another one.
    """
    outputs = 1 if settings.classes == 2 else settings.classes
    widths = (split.x.shape[1], *(settings.width,) * (settings.depth - 1), outputs)
    net = start(widths, settings)
    path, done, spent = folder / "training.npz", 0, 0.0
    if path.exists():
        saved = read_npz(path, "the state of this training; delete it to train anew")
        net, done, spent = net.with_theta(saved["theta"]), int(saved["step"]), saved["seconds"]
    bar, first = Progress("training"), np.log(np.log(settings.classes))
    began = saved_at = time.perf_counter()

    def save(step: int, net: kkt_ref.MLP) -> float:
        seconds = spent + time.perf_counter() - began
        with write_atomically(path) as file:
            np.savez(file, theta=net.theta, step=step, seconds=seconds)
        return seconds

    def progress(record: kkt_ref.training.Record, net: kkt_ref.MLP) -> None:
        nonlocal saved_at
        fraction = (first - record.log_loss) / (first - np.log(TARGET))
        bar.show(fraction, f"step {done + record.step}, loss {np.exp(record.log_loss):.1e}")
        if time.perf_counter() - saved_at > 20:
            save(done + record.step, net)
            saved_at = time.perf_counter()

    result = kkt_ref.loss_scaled_descent(
        net,
        split.x.astype(np.float32),
        split.y,
        rate=RATE,
        target_loss=TARGET,
        record_every=50,
        callback=progress,
    )
    seconds = save(done + result.steps, result.net)
    return Trained(replace(result, steps=done + result.steps), seconds)


class Attacked(NamedTuple):
    """What an attack found, and the seconds it took, without those of starts that it resumed."""

    found: kkt_ref.Reconstruction
    seconds: float


def by_first_layer(net: kkt_ref.MLP, settings: Settings, folder: Path, restarts: int) -> Attacked:
    """Attack by alternating least squares on the whitened first layer, saving each run."""
    began, problem, bar = time.perf_counter(), FirstLayer(net), Progress("reconstruct")
    m, seed, done = problem.default_candidates, settings.seed, len(list(folder.glob("start_*.npz")))
    bar.show(done / restarts)

    def progress(number: int, run: Alternation) -> None:
        nonlocal done
        done += 1
        bar.show(done / restarts, f"start {number + 1}, residual {run.residual:.3f}")

    runs = run_alternations(
        problem, candidates=m, seed=seed, restarts=restarts, folder=folder, callback=progress
    )
    found = pool_alternations(problem, runs, seed=seed)
    return Attacked(found, time.perf_counter() - began)


def by_paper(net: kkt_ref.MLP, settings: Settings, folder: Path, restarts: int) -> Attacked:
    """Attack by the published loss in pixels, with L-BFGS and weights on the first layer only."""
    bar, began = Progress("reconstruct"), time.perf_counter()
    bar.show(0.0)
    found = kkt_ref.attacks.reconstruct_paper(
        net.astype(np.float64),
        m=2 * settings.n,
        seed=settings.seed,
        alpha=kkt_ref.attacks.gate_alpha(net, 0.25),
        layer_weights=(1.0, *(0.0,) * (net.depth - 1)),
        restarts=restarts,
        max_iterations=300,
    )
    bar.show(1.0)
    return Attacked(found, time.perf_counter() - began)


Attack = Callable[[kkt_ref.MLP, Settings, Path, int], Attacked]
ATTACKS: dict[str, Attack] = {"first-layer": by_first_layer, "paper": by_paper}


class Outcome(NamedTuple):
    """A finished run."""

    split: Split
    net: kkt_ref.MLP
    found: kkt_ref.Reconstruction
    table: dict[str, Any]


def run(images: ImageSet, settings: Settings, folder: Path, restarts: int) -> Outcome:
    """Train, attack the weights, and only then look at the data again to score."""
    split, began = make_split(images, settings.n, settings.classes), time.perf_counter()
    # 1. Train: towards a KKT point of the max-margin problem (P).
    trained, train_seconds = train(split, settings, folder)
    net = trained.net.astype(np.float64)
    # 2. Attack: stationarity (S) in the first layer, or the published loss (R).
    found, attack_seconds = ATTACKS[settings.attack](trained.net, settings, folder, restarts)

    # 3. Judge: the conditions on the training data, and scores beside those on unseen images.
    table = {
        "n": settings.n,
        "width": settings.width,
        "depth": settings.depth,
        "classes": settings.classes,
        "seed": settings.seed,
        "source": settings.source,
        "attack": settings.attack,
        "restarts": len(found.runs),
        "candidates": len(found.candidates),
        "train": {"seconds": train_seconds, **training_table(trained, split)},
        **conditions(net, split),
        "reached_layer_1": min(run.by_layer[0] for run in found.runs),
        "reconstruct_seconds": attack_seconds,
        **scores(split, found),
    }
    table["seconds"] = time.perf_counter() - began
    return Outcome(split, net, found, table)


def training_table(trained: TrainResult, split: Split) -> dict[str, Any]:
    """Loss, margins, train and test error; on the unseen images if there are no test images."""
    net = trained.net.astype(np.float64)
    margins = kkt_ref.margins(net, split.x, split.y)
    tested = (split.test_x, split.test_y) if len(split.test_y) else (split.unseen_x, split.unseen_y)
    return {
        "steps": trained.steps,
        "loss": float(np.exp(trained.history.records[-1].log_loss)),
        "converged": trained.converged,
        "train_error": float(np.mean(margins <= 0)),
        "test_error": float(np.mean(kkt_ref.margins(net, *tested) <= 0)),
        "test_images": len(tested[1]),
        "margin_min": float(margins.min()),
        "margin_median": float(np.median(margins)),
        "margin_max": float(margins.max()),
    }


def conditions(net: kkt_ref.MLP, split: Split) -> dict[str, Any]:
    """The KKT conditions on the training data, and the residual floor, also of layer 1 alone."""
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
            "complementary_slackness": report.complementary_slackness,
            "epsilon": report.epsilon,
            "delta": report.delta,
        },
        "floor": floor.relative,
        "floor_layer_1": floor_1.by_layer[0],
    }


def score(split: Split, candidates: np.ndarray) -> Scores:
    """One-to-one scores on the training images, and on as many unseen images."""
    return score_candidates(split.x, candidates, split.unseen_x, mean=split.mean, shape=split.shape)


def scores(split: Split, found: kkt_ref.Reconstruction) -> dict[str, Any]:
    """Scores on training and unseen images, and how well agreement ranks the candidates."""
    scored = score(split, found.candidates)
    table: dict[str, Any] = {
        "scores": {
            "data": scored.data._asdict(),
            "unseen": scored.unseen._asdict(),
            "difference": scored.difference._asdict(),
        }
    }
    if found.agreement is not None:
        # every second candidate is the negative of the one before it
        best = np.abs(ncc_all_pairs(found.candidates[::2], split.x)).max(axis=1)
        table["ranking_agreement"] = float(spearmanr(found.agreement[::2], best).statistic)
    return table
