"""Membership as evidence of an audit: scores of training and of held-out samples.

Names of dimensions: n training samples, m held-out samples.
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref.attacks import membership_scores
from kkt_ref.attacks.membership import MOST
from kkt_ref.metrics.roc import ROC, roc
from kkt_ref.network.mlp import MLP


class Members(NamedTuple):
    """Scores of membership; larger speaks for it."""

    rows: np.ndarray  # (k,), rows of the training samples that were scored, at most 5000
    members: np.ndarray  # (k,)
    others: np.ndarray  # (m,), scores of the held-out samples
    roc: ROC

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by the names that the report has for them."""
        low, high = self.roc.auc_interval
        rates = {"1%": self.roc.tpr001, "0.1%": self.roc.tpr0001}
        return {
            "training samples scored": len(self.members),
            "held-out samples scored": len(self.others),
            "AUC": self.roc.auc,
            "AUC, 95% interval": [low, high],
            **{f"TPR at FPR {rate}": value for rate, value in rates.items()},
            "smallest FPR that the held-out samples can show": self.roc.resolution,
            "p of no difference": self.roc.p_all,
        }


def measure_membership(net: MLP, x: np.ndarray, held_out: np.ndarray, *, seed: int) -> Members:
    """Score training samples (n, d) and held-out samples (m, d) together; n, m ≥ 2.

    Of more than 5,000 training samples as many are drawn by the seed.
    """
    rows = np.arange(len(x))
    if len(x) > MOST // 2:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST // 2, replace=False))
    others = held_out[: MOST - len(rows)]
    score = membership_scores(net, np.concatenate([x[rows], others])).score
    members, others = score[: len(rows)], score[len(rows) :]
    return Members(rows, members, others, roc(members, others))
