"""The files of an audit: candidates, pictures, report, numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import numpy as np

from kkt_ref._io import write_atomically
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.pooling import distinct
from kkt_ref.audit.figures import Display, margin_figure, plane_figure, rows_figure
from kkt_ref.audit.inputs import Samples
from kkt_ref.audit.report import Picture, html_report
from kkt_ref.audit.run import Audit, Comparison, as_table
from kkt_ref.metrics.scores import Shape
from kkt_ref.network.weights_file import Weights

SHOWN, SHOWN_NULL = 24, 12


def write_audit(
    audit: Audit,
    weights: Weights,
    file: str,
    folder: Path,
    *,
    shape: Shape | None,
    data: Samples | None,
    held_out: Samples | None,
    table: Path | None,
) -> list[Path]:
    """Write all files of an audit, each whole or not at all.

    Parameters
    ----------
    audit : Audit
    weights : Weights
    file : str
        Name of the weights file.
    folder : Path
        Exists.
    shape : Shape, optional
        Of the pictures; samples are drawn as lines unless given.
    data, held_out : Samples, optional
    table : Path, optional
        Where to write the numbers as JSON.

    Returns
    -------
    list of Path

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    contents: dict[Path, bytes | None] = {folder / "candidates.npz": None}
    pictures = _pictures(audit, weights, shape, data, held_out)
    contents |= {folder / f"{picture.name}.png": picture.png for picture in pictures}
    report = html_report(audit, weights, file, pictures)
    contents[folder / "report.html"] = report.encode()
    if table is not None:
        contents[table] = (json.dumps(as_table(audit), indent=2) + "\n").encode()
    for path, content in contents.items():
        with write_atomically(path) as target:
            if content is None:
                _save_candidates(target, audit.found.reconstruction, weights.net.dtype)
            else:
                target.write(content)
    return list(contents)


def _save_candidates(target: IO[bytes], found: Reconstruction, dtype: np.dtype) -> None:
    agreement = found.agreement
    np.savez(
        target,
        candidates=found.candidates.astype(dtype),
        labels=found.labels,
        multipliers=found.multipliers,
        agreement=np.full(len(found.labels), np.nan) if agreement is None else agreement,
        restart=found.run_index,
    )


def _pictures(
    audit: Audit,
    weights: Weights,
    shape: Shape | None,
    data: Samples | None,
    held_out: Samples | None,
) -> list[Picture]:
    found = audit.found.reconstruction
    if audit.grid:
        points = (data.x, data.y) if data is not None and data.y is not None else None
        png = plane_figure(weights.net, found, audit.plan.box, points)
        text = (
            "Dots: candidates, their area the multiplier, red for label +1 and blue for -1; behind "
            "them the network's output, zero on the line."
        )
        text += " Rings: the training points, in the colour of their label." if points else ""
        return [Picture("candidates", "What comes back from the weights", text, png)]
    if not len(found.labels):
        return []
    pictures = []
    norm = None if data is None else float(np.median(np.linalg.norm(data.x, axis=1)))
    display = Display(shape, None if data is None else data.mean, norm)
    if audit.data is not None and data is not None:
        pictures.append(
            _matches(
                "matches",
                "Best candidates beside the training samples that they match",
                "Each candidate is used once. Rows of --data count from 0.",
                audit.data,
                data,
                found,
                display,
                SHOWN,
                ("candidate", "training\nsample"),
            )
        )
    if audit.held_out is not None and held_out is not None:
        pictures.append(
            _matches(
                "held_out",
                "The same candidates beside samples never trained on",
                "This is what chance gives.",
                audit.held_out,
                held_out,
                found,
                display,
                SHOWN_NULL,
                ("candidate", "held\nout"),
            )
        )
    pictures.append(_blind(found, display))
    if audit.data is not None and audit.conditions is not None:
        null = None if audit.held_out is None else audit.held_out.score
        png = margin_figure(audit.conditions.margins, audit.data.score, null)
        text = "In theory only samples at the smallest margin carry a multiplier, and come back."
        pictures.append(Picture("margins", "Which training samples come back", text, png))
    return pictures


def _matches(
    name: str,
    title: str,
    caption: str,
    comparison: Comparison,
    samples: Samples,
    found: Reconstruction,
    display: Display,
    shown: int,
    names: tuple[str, str],
) -> Picture:
    matched = np.flatnonzero(comparison.candidate >= 0)
    best = matched[np.argsort(-comparison.score[matched], kind="stable")[:shown]]
    png = rows_figure(
        display,
        found.candidates[comparison.candidate[best]],
        samples.x[best],
        captions=[f"NCC {comparison.score[row]:.2f}\nrow {row}" for row in best],
        names=names,
    )
    return Picture(name, title, caption, png)


def _blind(found: Reconstruction, display: Display) -> Picture:
    first = distinct(found)[:SHOWN]
    rows = [int(np.argmax((found.candidates == candidate).all(axis=1))) for candidate in first]
    assert found.agreement is not None
    png = rows_figure(
        display, first, captions=[f"agreement {found.agreement[row]:.2f}" for row in rows]
    )
    return Picture(
        "candidates",
        "What someone without any data would look at first",
        "Candidates sorted by how well another start agrees with them, near copies left out. Each "
        "may be the negative of what was trained on.",
        png,
    )
