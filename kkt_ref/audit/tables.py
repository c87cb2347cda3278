"""Scores of matched pairs, results by class, and the CSV files of an audit.

Names of dimensions: n samples, m candidates, d inputs.
"""

import csv
import io
from typing import Any

import numpy as np

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.audit.evidence import Members
from kkt_ref.metrics.matching import Matching
from kkt_ref.metrics.scores import Shape
from kkt_ref.metrics.ssim import HAIM, structural_similarity

SMALLEST = HAIM.size  # pixels of a side that SSIM needs
PairScores = dict[str, np.ndarray]  # (n,) each, NaN where a sample has no candidate


def score_pairs(
    x: np.ndarray, candidates: np.ndarray, matched: np.ndarray, shape: Shape | None
) -> PairScores:
    """Return NCC, MSE, PSNR and, for images, SSIM of samples (n, d) and their candidates.

    The attack recovers neither sign nor contrast, so each candidate first gets the factor and the
    offset that fit its sample best.  PSNR and SSIM use the range of all numbers of the samples.
    """
    has = matched >= 0
    truth, guess = x[has], candidates[matched[has]].astype(np.float64)
    span = float(np.ptp(x)) or 1.0
    centred = [part - part.mean(axis=1, keepdims=True) for part in (truth, guess)]
    sizes = [np.maximum(np.linalg.norm(part, axis=1), 1e-300) for part in centred]
    ncc = np.sum(centred[0] * centred[1], axis=1) / (sizes[0] * sizes[1])
    fitted = centred[1] * (ncc * sizes[0] / sizes[1])[:, None] + truth.mean(axis=1, keepdims=True)
    mse = np.mean((fitted - truth) ** 2, axis=1)
    scores = {"NCC": ncc, "MSE": mse, "PSNR": 10 * np.log10(span**2 / np.maximum(mse, 1e-300))}
    if shape is not None and min(shape[1:]) >= SMALLEST and has.any():
        scores["SSIM"] = structural_similarity(
            fitted.reshape(-1, *shape), truth.reshape(-1, *shape),
            data_range=span, channel_axis=1, settings=HAIM,
        )  # fmt: skip
    whole = {name: np.full(len(x), np.nan) for name in scores}
    for name, values in scores.items():
        whole[name][has] = values
    return whole


def by_class(
    y: np.ndarray, score: np.ndarray, hit: float, members: Members | None
) -> dict[str, dict[str, Any]]:
    """Return, for each class, its samples, those reconstructed, and the TPR at an FPR of 1%."""
    found: dict[str, dict[str, Any]] = {}
    for label in np.unique(y):
        mine = y == label
        row: dict[str, Any] = {"samples": int(mine.sum())}
        row["reconstructed"] = int(np.sum(score[mine] >= hit))
        if members is not None and members.roc.tpr001 is not None:
            of_class = mine[members.rows]
            passed = members.roc.p_values[of_class] * (len(members.others) + 1) - 1
            allowed = np.floor(0.01 * len(members.others))
            row["TPR at FPR 1%"] = float(np.mean(passed <= allowed)) if of_class.any() else None
        found[f"{label:g}"] = row
    return found


def candidates_csv(found: Reconstruction, matches: dict[str, Matching]) -> bytes:
    """Return a row for each candidate, with the sample and the held-out sample it matches."""
    columns: dict[str, Any] = {
        "candidate": np.arange(len(found.labels)),
        "label": found.labels,
        "multiplier": found.multipliers,
        "restart": found.run_index,
    }
    if found.agreement is not None:
        columns["agreement"] = found.agreement
    for name, match in matches.items():
        row, score = np.full(len(found.labels), -1), np.full(len(found.labels), np.nan)
        has = match.candidate >= 0
        row[match.candidate[has]], score[match.candidate[has]] = (
            np.flatnonzero(has),
            match.score[has],
        )
        columns |= {f"{name} row": row, f"{name} score": score}
    return as_csv(columns)


def as_csv(columns: dict[str, np.ndarray]) -> bytes:
    """Return a table in CSV; NaN and -1 are left empty in columns of scores and rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        writer.writerow(
            "" if value != value or (value == -1 and name.endswith("row")) else value
            for name, value in zip(columns, values, strict=True)
        )
    return text.getvalue().encode()
