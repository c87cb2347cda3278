r"""Candidates sorted without the training data, and how well that sorts them.

:func:`rank_candidates` is what an attacker can do who has no images to compare
with, and :func:`ranking_agreement` says how well it sorts.

Names of dimensions: n images, m candidates, d pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr

from kkt_ref._validation import as_array, check_labels, check_points
from kkt_ref.metrics.ncc import unit_images

Floats = NDArray[np.float64]
_CHUNK_ROWS = 256  # rows of the (m, m) table of agreements held at once


class Ranking(NamedTuple):
    """Candidates sorted without the data; the parts are None where nothing was given for them."""

    score: Floats  # (m,), mean of the parts' ranks, in (0, 1]
    order: NDArray[np.int64]  # (m,), candidates from best to worst
    multiplier: Floats  # (m,)
    agreement: Floats | None  # (m,), best NCC with a candidate of another restart
    closeness: Floats | None  # (m,), minus the distance from the margin


def rank_candidates(
    x: ArrayLike,
    *,
    multipliers: ArrayLike,
    restart: ArrayLike | None = None,
    y: ArrayLike | None = None,
    outputs: ArrayLike | None = None,
) -> Ranking:
    r"""Rank candidates by what can be known without the training data.

    Up to three signs of a real training image are each turned into ranks in
    (0, 1], and averaged: a large multiplier; that another restart arrived at
    the same image; and an output on the margin.  The margin is unknown to an
    attacker, and is taken as the median of y_i Φ(x_i) (of \|Φ(x_i)\| without
    labels), weighted by the multipliers.

    Parameters
    ----------
    x : array_like, (m, d)
        Candidates, floating.
    multipliers : array_like, (m,)
        λ_i >= 0.
    restart : array_like of int, (m,), optional
        Which restart each candidate comes from, at least two different ones.
    y : array_like, (m,), optional
        Labels -1 and +1; only candidates of equal label can agree.
    outputs : array_like, (m,), optional
        Φ(θ; x_i).

    Returns
    -------
    Ranking
        A candidate that no other restart can confirm has agreement -1.

    Raises
    ------
    TypeError
        If ``x`` is not floating.
    ValueError
        If an array has not one finite entry a candidate, a multiplier is
        negative, all are 0, or ``restart`` names one restart only.
    """
    x = check_points(x, "x")
    m = len(x)
    multipliers = _one_each(multipliers, m, "multipliers")
    if multipliers.min() < 0 or not multipliers.any():
        raise ValueError("multipliers: expected numbers >= 0, not all 0; λ_i without its label y_i")
    labels = np.ones(m) if y is None else check_labels(y, m)
    agreement = closeness = None
    if restart is not None:
        restart = _one_each(restart, m, "restart")
        if np.ptp(restart) == 0:
            raise ValueError(
                "restart: expected at least two restarts, got one; leave it out to rank without"
            )
        agreement = agreements(unit_images(x), restart, labels=labels)
    if outputs is not None:
        outputs = _one_each(outputs, m, "outputs")
        margins = np.abs(outputs) if y is None else labels * outputs
        closeness = -np.abs(margins - _weighted_median(margins, multipliers))
    parts = [part for part in (multipliers, agreement, closeness) if part is not None]
    score = np.mean([rankdata(part) / m for part in parts], axis=0)
    order = np.argsort(-score, kind="stable")
    return Ranking(score, order, multipliers, agreement, closeness)


def agreements(
    units: NDArray[Any],
    restart: NDArray[Any],
    *,
    labels: NDArray[Any] | None = None,
    either_sign: bool = False,
) -> NDArray[Any]:
    """Return each candidate's largest cosine with one of another restart, shape (m,).

    Parameters
    ----------
    units : array of shape (m, k)
        Candidates, or coordinates of them, of unit length.
    restart : array of shape (m,)
        Which restart each comes from.
    labels : array of shape (m,), optional
        Only candidates of equal label can agree.
    either_sign : bool
        Whether a candidate also stands for its negative, so that |cosine| counts.

    Returns
    -------
    array of shape (m,), dtype of ``units``
        In [-1, 1], in [0, 1] with ``either_sign``; the least where none can agree.
    """
    best = np.empty(len(units), units.dtype)
    for start in range(0, len(units), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        cosines = units[rows] @ units.T  # (rows, m)
        if either_sign:
            cosines = np.abs(cosines)
        barred = restart[rows, None] == restart
        if labels is not None:
            barred |= labels[rows, None] != labels
        cosines[barred] = 0.0 if either_sign else -1.0
        best[rows] = cosines.max(axis=1)
    return np.clip(best, -1.0, 1.0)


def ranking_agreement(
    score: ArrayLike, images: ArrayLike, candidates: ArrayLike, *, either_sign: bool = False
) -> float:
    """Return how well a score sorts candidates by what they really show.

    Parameters
    ----------
    score : array_like, (m,)
        Larger is better, as :attr:`Ranking.score`.
    images : array_like, (n, d)
        The training images, floating, training mean subtracted.
    candidates : array_like, (m, d)
    either_sign : bool
        Whether a candidate also stands for its negative.

    Returns
    -------
    float
        Spearman's correlation, in [-1, 1], of ``score`` and each candidate's
        best NCC to an image; 0 where one of them is constant.

    Raises
    ------
    TypeError
        If an array of images is not floating.
    ValueError
        If shapes do not fit, or a value is not finite.
    """
    images = unit_images(images, name="images")
    candidates = unit_images(candidates, name="candidates")
    if images.shape[1] != candidates.shape[1]:
        raise ValueError(
            "images, candidates: expected images of equally many pixels, got "
            f"{images.shape} and {candidates.shape}"
        )
    correlation = np.clip(candidates @ images.T, -1.0, 1.0)  # (m, n)
    best = (np.abs(correlation) if either_sign else correlation).max(axis=1)  # (m,)
    score = _one_each(score, len(best), "score")
    if np.ptp(score) == 0 or np.ptp(best) == 0:
        return 0.0
    return float(spearmanr(score, best).statistic)


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return values[order][np.searchsorted(below, 0.5 * below[-1])]


def _one_each(values: ArrayLike, m: int, name: str) -> Floats:
    values = as_array(values, name)
    if values.shape != (m,) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(
            f"{name}: expected {m} finite numbers, one a candidate, got shape {values.shape} of "
            f"dtype {values.dtype}"
        )
    return values.astype(np.float64)
