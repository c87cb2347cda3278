"""The web page of the 2D toy: one file with its data, which computes everything by itself."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from plot_toy2d import LIMIT, PAPER_GATES, Trace

import kkt_ref
from kkt_ref._io import write_atomically
from kkt_ref.training import Record

SOURCES = Path(__file__).parent / "toy_page"
SCRIPTS = ("kkt.mjs", "plane.js", "shared.js", "training.js", "attacks.js", "hand.js")
MATCH = 0.05  # within which a candidate counts as a training point
LARGEST = 2_000_000  # bytes of the page


@dataclass
class Snapshots:
    """The weights during training, at steps that grow geometrically."""

    taken: list[tuple[Record, np.ndarray]] = field(default_factory=list)
    due: int = 0

    def take(self, record: Record, net: kkt_ref.MLP) -> None:
        """Copy the weights if the next snapshot is due."""
        if record.step >= self.due:
            self.taken.append((record, net.theta))
            self.due = int(1.12 * record.step) + 20


def _base64(array: np.ndarray, dtype: str) -> str:
    return b64encode(np.ascontiguousarray(array, dtype)).decode()


def _frames(trace: Trace, most: int = 80) -> dict[str, Any]:
    """Candidates and multipliers of a run, at frames that are dense at its beginning."""
    last = len(trace.frames) - 1
    chosen = np.arange(last + 1)
    if last >= most:
        chosen = np.unique(np.round(np.geomspace(1, last + 1, most)).astype(int)) - 1
    shown = [np.column_stack(trace.frames[k]) for k in chosen]  # (m, d + 1) each
    return {
        "counts": [len(frame) for frame in shown],
        "stages": [trace.stages[k] if k < last else "end" for k in chosen],
        "labels": trace.labels.tolist(),
        "frames": _base64(np.concatenate(shown), "<f4"),
    }


def page_data(
    net: kkt_ref.MLP,
    snapshots: Snapshots,
    x: np.ndarray,
    y: np.ndarray,
    traces: dict[str, Trace],
) -> dict[str, Any]:
    """All that the page needs: weights, snapshots and runs as base64, the rest as numbers."""
    alpha = kkt_ref.attacks.gate_alpha(net, PAPER_GATES)
    gated = net.with_activation(kkt_ref.GatedReLU(alpha))
    return {
        "widths": net.widths,
        "K": net.K,
        "limit": LIMIT,
        "match": MATCH,
        "alpha": alpha,
        "x": x.tolist(),
        "y": y.tolist(),
        "multipliers": kkt_ref.fit_multipliers(gated, x, y).tolist(),
        "theta": _base64(net.theta, "<f8"),
        "training": [
            {
                "step": record.step,
                "logLoss": record.log_loss,
                "norm": record.norm,
                "theta": _base64(theta, "<f4"),
            }
            for record, theta in snapshots.taken
        ],
        "runs": {name: _frames(trace) for name, trace in traces.items()},
    }


def write_page(path: Path, data: dict[str, Any]) -> None:
    """Write the page, with its style, scripts and data inside."""
    scripts = [(SOURCES / name).read_text("utf-8") for name in SCRIPTS]
    # the modules become one script: what one exports is already there for the next
    script = re.sub(r"^export |^import .*\n", "", "\n".join(scripts), flags=re.M)
    page = Template((SOURCES / "page.html").read_text("utf-8")).substitute(
        style=(SOURCES / "style.css").read_text("utf-8"),
        script=script,
        data=json.dumps(data, allow_nan=False),
    )
    raw = page.encode()
    if len(raw) > LARGEST:
        raise ValueError(f"{path}: expected a page of at most 2 MB, got {len(raw):,} bytes")
    with write_atomically(path) as file:
        file.write(raw)
