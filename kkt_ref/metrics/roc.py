"""ROC figures of a score of membership: how well it tells members from other samples.

An average hides what matters to the persons in the data, so the true positive rate (TPR) at a low
false positive rate (FPR) is reported beside the area (Carlini et al., *Membership Inference
Attacks From First Principles*, 2022).

Names of dimensions: n members, m others (held-out samples, the null).
"""

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import as_array, check_positive

Floats = NDArray[np.float64]
TOP = 0.05  # of all scores; a few members who stand out are seen there, and not in the area


class ROC(NamedTuple):
    """How well a score tells members from others."""

    auc: float  # P(member > other) + P(equal)/2
    auc_interval: tuple[float, float]  # 95%, by DeLong et al. (1988)
    tpr001: float | None  # TPR at FPR ≤ 1%; None if there are fewer than 100 others
    tpr0001: float | None  # TPR at FPR ≤ 0.1%; None if there are fewer than 1000 others
    resolution: float  # 1/m, the smallest FPR above 0 that m others can show
    p_values: Floats  # (n,), of each member against the others; the smallest is 1/(m + 1)
    p_all: float  # of no difference between members and others, one-sided


def roc(members: ArrayLike, others: ArrayLike) -> ROC:
    """Compare the scores of members with those of others.

    Parameters
    ----------
    members, others : array_like of shape (n,) and (m,), floating, n, m ≥ 2
        Larger scores speak for membership; not NaN.

    Notes
    -----
    The p-value (1 + #{others ≥ score}) / (m + 1) is exact if a member that left no trace and the
    others are exchangeable.  ``p_all`` is twice the smaller one of two: Mann-Whitney's, and the
    hypergeometric probability of as many members among the highest 5% of all scores, so that it
    detects both a small difference of all members and a large difference of a few.  DeLong's
    interval is that of the logit of the area, so that it stays in [0, 1]; if the scores are
    separated, its other end is at a distance of 3/min(n, m), the rule of three.
    """
    members, others = _check(members, "members"), _check(others, "others")
    n, m, ordered, own = len(members), len(others), np.sort(others), np.sort(members)
    below = np.searchsorted(ordered, members, "left")  # others below each member, (n,)
    placed = (below + np.searchsorted(ordered, members, "right")) / (2 * m)  # (n,)
    beaten = np.searchsorted(own, others, "left") + np.searchsorted(own, others, "right")  # (m,)
    error = np.sqrt(placed.var(ddof=1) / n + (beaten / (2 * n)).var(ddof=1) / m)
    auc = float(placed.mean())
    area = scipy.stats.mannwhitneyu(members, others, alternative="greater", method="asymptotic")
    level = np.sort(np.concatenate([own, ordered]))[-max(int(TOP * (n + m)), 1)]
    high = int(np.sum(members >= level)), int(np.sum(others >= level))
    top = scipy.stats.hypergeom.sf(high[0] - 1, n + m, n, sum(high))
    return ROC(
        auc=auc,
        auc_interval=_interval(auc, float(error), min(n, m)),
        tpr001=tpr_at(members, others, 0.01),
        tpr0001=tpr_at(members, others, 0.001),
        resolution=1 / m,
        p_values=(1 + m - below) / (m + 1),
        p_all=min(2 * min(float(area.pvalue), float(top)), 1.0),
    )


def tpr_at(members: ArrayLike, others: ArrayLike, fpr: float) -> float | None:
    """Return the share of members above a threshold that at most ``fpr`` of the others exceed.

    None if there are fewer than 1/fpr others, too few to show such a rate.  ``fpr`` is in (0, 1).
    """
    members, others = _check(members, "members"), _check(others, "others")
    if not check_positive(fpr, "fpr") < 1:
        raise ValueError(f"fpr: expected a rate between 0 and 1, got {fpr!r}")
    allowed = int(np.floor(fpr * len(others) * (1 + 1e-12)))
    if not allowed:
        return None
    return float(np.mean(members > np.sort(others)[-allowed - 1]))


def roc_curve(members: ArrayLike, others: ArrayLike) -> tuple[Floats, Floats]:
    """Return the steps of the curve, FPR and TPR from (0, 0) to (1, 1), at each distinct score."""
    members, others = _check(members, "members"), _check(others, "others")
    scores = np.unique(np.concatenate([members, others]))[::-1]  # thresholds, falling
    rates = [
        np.append(0.0, 1 - np.searchsorted(np.sort(values), scores, "left") / len(values))
        for values in (others, members)
    ]
    return rates[0], rates[1]


def _check(values: ArrayLike, name: str) -> Floats:
    array = as_array(values, name)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected floating scores, got dtype {array.dtype}")
    if array.ndim != 1 or len(array) < 2 or np.isnan(array).any():
        raise ValueError(f"{name}: expected at least two scores (n,), not NaN, got {array.shape}")
    return array.astype(np.float64)


def _interval(auc: float, error: float, count: int) -> tuple[float, float]:
    if error == 0 or not 0 < auc < 1:  # separated scores, for which DeLong's variance is 0
        slack = 3 / count
        return max(auc - slack, 0.0), min(auc + slack, 1.0)
    half = scipy.stats.norm.ppf(0.975) * error / (auc * (1 - auc))
    low, high = scipy.special.expit(scipy.special.logit(auc) + np.array([-half, half]))
    return float(low), float(high)
