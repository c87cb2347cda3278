"""The KKT conditions of the max-margin problem, measured at a network and its data.

Read ``conditions`` first: the four conditions as one report.  ``multipliers`` fits λ to given
samples; ``clarke`` also frees the gates of samples that lie on kinks.
"""

from kkt_ref.kkt.conditions import KKTReport, Stationarity, stationarity_norms

__all__ = ["KKTReport", "Stationarity", "stationarity_norms"]
