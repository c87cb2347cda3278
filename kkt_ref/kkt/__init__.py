"""The KKT conditions of the max-margin problem, measured at a network and its data.

Read ``conditions`` first: the four conditions as one report.  ``multipliers`` fits λ to given
samples; ``clarke`` also frees the gates of samples that lie on kinks.
"""

from kkt_ref.kkt.clarke import ClarkeFit, clarke_stationarity
from kkt_ref.kkt.conditions import (
    KKTReport,
    Stationarity,
    kkt_report,
    margins,
    residual_floor,
    stationarity_norms,
)
from kkt_ref.kkt.multipliers import fit_multipliers

__all__ = [
    "ClarkeFit",
    "KKTReport",
    "Stationarity",
    "clarke_stationarity",
    "fit_multipliers",
    "kkt_report",
    "margins",
    "residual_floor",
    "stationarity_norms",
]
