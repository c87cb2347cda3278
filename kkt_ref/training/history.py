"""What training leaves behind: the network, its history, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kkt_ref.network.mlp import MLP


class Record(NamedTuple):
    """One row of a training history.

    Attributes
    ----------
    step : int
        Steps done.
    log_loss : float
        Log of the mean logistic loss; the log, for the loss underflows.
    margin_min, margin_max : float
        Smallest and largest y_i Φ(θ; x_i).
    norm : float
        ‖θ‖.
    residual : float
        ‖θ − s Σ p_i y_i ∇Φ(x_i)‖ / ‖θ‖ with p_i = −loss'_i and the best s ≥ 0.
    """

    step: int
    log_loss: float
    margin_min: float
    margin_max: float
    norm: float
    residual: float


@dataclass
class History:
    """Records in the order in which they were made.

    Attributes
    ----------
    records : list of Record
    """

    records: list[Record] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """One field of all records as an array, such as ``column("margin_min")``."""
        return np.array([getattr(record, name) for record in self.records])

    @property
    def loss(self) -> np.ndarray:
        """Mean logistic loss at each record (0 where it underflows; see ``log_loss``)."""
        return np.exp(self.column("log_loss"))


@dataclass(frozen=True)
class TrainResult:
    """A trained network.

    Attributes
    ----------
    net : MLP
    multipliers : array of shape (n,)
        λ_i ∝ −loss'_i, the multipliers that training itself implies.
    history : History
    steps : int
        Steps (or iterations) done.
    stop_reason : str
        One sentence.
    converged : bool
        Whether the target was reached, rather than a limit.
    """

    net: MLP
    multipliers: np.ndarray
    history: History
    steps: int
    stop_reason: str
    converged: bool
