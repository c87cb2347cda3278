"""The KKT conditions of the max-margin problem, measured at a network and its data.

Read ``conditions`` first: the four conditions as one report.  ``multipliers`` fits λ to given
samples; ``clarke`` also frees the gates of samples that lie on kinks; ``weight_decay`` takes λ from
the outputs.
"""

from kkt_ref.kkt.conditions import KKTReport, Stationarity, stationarity_norms
from kkt_ref.kkt.weight_decay import DecayFit, best_decay, weight_decay_stationarity

__all__ = [
    "DecayFit",
    "KKTReport",
    "Stationarity",
    "best_decay",
    "stationarity_norms",
    "weight_decay_stationarity",
]
