"""What a reconstruction returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kkt_ref.attacks.objective import Terms


@dataclass(frozen=True)
class Run:
    """How one start ended."""

    terms: Terms
    iterations: int
    evaluations: int
    stop_reason: str


@dataclass(frozen=True)
class Reconstruction:
    """Candidates that explain the weights, from one start or several pooled.

    Attributes
    ----------
    candidates : array of shape (m, d)
        All starts, one after the other.
    labels : array of shape (m,), entries -1 and +1
    multipliers : array of shape (m,)
        λ_i of the start that a candidate belongs to.
    restart : array of shape (m,), int
        Which start that is.
    runs : tuple of Run
        One a start: every part of the loss, and why it stopped.
    seed : int or None
        None where nothing was drawn.
    agreement : array of shape (m,), optional
        In [0, 1]: how well another start confirms a candidate, where that was measured.
    """

    candidates: np.ndarray
    labels: np.ndarray
    multipliers: np.ndarray
    restart: np.ndarray
    runs: tuple[Run, ...]
    seed: int | None
    agreement: np.ndarray | None = None

    @property
    def best(self) -> int:
        """The start with the smallest objective."""
        return int(np.argmin([run.terms.objective for run in self.runs]))

    def only(self, restart: int) -> Reconstruction:
        """Return the part that belongs to one start."""
        keep = self.restart == restart
        return Reconstruction(
            self.candidates[keep],
            self.labels[keep],
            self.multipliers[keep],
            np.zeros(int(keep.sum()), int),
            (self.runs[restart],),
            self.seed,
            None if self.agreement is None else self.agreement[keep],
        )
