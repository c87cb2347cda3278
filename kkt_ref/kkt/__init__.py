"""The KKT conditions of the max-margin problem, measured at a network and its data.

Read ``equation`` first: stationarity at samples, which is asked for margins, multipliers, norms
and the report of the four conditions; ``multipliers`` solves for λ.  ``clarke`` also frees the
gates of samples that lie on kinks, and ``weight_decay`` takes λ from the outputs.
"""

from kkt_ref.kkt.equation import Equation, KKTReport, Stationarity, stationarity_norms
from kkt_ref.kkt.weight_decay import DecayFit, weight_decay_stationarity

__all__ = [
    "DecayFit",
    "Equation",
    "KKTReport",
    "Stationarity",
    "stationarity_norms",
    "weight_decay_stationarity",
]
