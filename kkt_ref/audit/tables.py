"""The tables of an audit: scores of samples and candidates for CSV files.

Names of dimensions: n training samples, k candidates.
"""

import csv
import io

import numpy as np

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.audit.measure import OnData, OnHeldOut

Columns = dict[str, np.ndarray]


def sample_columns(data: OnData, held_out: OnHeldOut | None) -> Columns:
    """Return, for each training sample, its candidate (-1: none) and its scores (NaN: none)."""
    n, candidate = len(data.x), data.matches.candidate
    columns = {"row": data.rows, "candidate": candidate}
    if data.y is not None and data.y.ndim == 1:
        columns["label"] = data.y
    columns["score"] = np.where(candidate >= 0, data.matches.score, np.nan)
    if data.margins is not None:
        columns["margin"] = data.margins
    if held_out is not None:
        scored = held_out.membership
        membership, p = np.full((2, n), np.nan)
        membership[scored.rows], p[scored.rows] = scored.members, scored.roc.p_values
        columns |= {"membership": membership, "membership_p": p}
    return columns


def candidate_columns(
    found: Reconstruction, data: OnData | None, held_out: OnHeldOut | None
) -> Columns:
    """Return, for each candidate, the row and score of the samples that it matches."""
    k = len(found.labels)
    columns: Columns = {
        "candidate": np.arange(k),
        "label": found.labels,
        "multiplier": found.multipliers,
        "restart": found.run_index,
    }
    if found.agreement is not None:
        columns["agreement"] = found.agreement
    for name, part in (("training", data), ("held-out", held_out)):
        if part is not None:
            row, score = np.full(k, None, object), np.full(k, np.nan)
            matched = np.flatnonzero(part.matches.candidate >= 0)
            candidate = part.matches.candidate[matched]
            row[candidate], score[candidate] = part.rows[matched], part.matches.score[matched]
            columns |= {f"{name} row": row, f"{name} score": score}
    return columns


def as_csv(columns: Columns) -> bytes:
    """Return a row for each sample or candidate, with nothing for None and NaN."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*(column.tolist() for column in columns.values()), strict=True):
        writer.writerow(["" if v is None or v != v else v for v in row])
    return text.getvalue().encode()
