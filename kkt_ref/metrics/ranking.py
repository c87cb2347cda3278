"""How well candidates agree between restarts, and how well a score sorts them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from kkt_ref._validation import as_array
from kkt_ref.metrics.ncc import unit_images

_CHUNK_ROWS = 256  # rows of the (m, m) table of agreements held at once


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
        Larger is better.
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
    score = as_array(score, "score")
    if score.shape != best.shape or score.dtype.kind not in "iuf" or not np.isfinite(score).all():
        raise ValueError(f"score: expected {len(best)} finite numbers, got shape {score.shape}")
    if np.ptp(score) == 0 or np.ptp(best) == 0:
        return 0.0
    return float(spearmanr(score, best).statistic)
