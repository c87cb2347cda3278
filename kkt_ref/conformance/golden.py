"""Golden vectors: the kit's questions and answers as files, for those who cannot import Python.

One npz with an array for each input and answer, and a JSON manifest that says what
they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from kkt_ref._io import write_atomically
from kkt_ref._validation import check_count, check_path
from kkt_ref.conformance.cases import Case, cases
from kkt_ref.conformance.checks import TOLERANCES
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.stationarity import closed_form

STORED = ("outputs", "per_sample_gradients", "stationarity_residual", "stationarity")


def write_golden(folder: str | Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write ``golden.npz`` and ``golden.json``.

    Parameters
    ----------
    folder : path-like
        Must exist; files of these names are replaced.
    seed : int
        Of the inputs, as in :func:`~kkt_ref.conformance.checks.check_implementation`.

    Returns
    -------
    (Path, Path)
        Of the arrays, all float64, named ``case/quantity``, and of the manifest.
    """
    folder, seed = check_path(folder, "folder"), check_count(seed, "seed", 0)
    arrays: dict[str, np.ndarray] = {}
    manifest: dict[str, Any] = {
        "seed": seed,
        "tolerance": TOLERANCES[np.dtype(np.float64)],
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "order_of_parameters": "W_1, b_1, W_2, ... each in C order; weights (out, in)",
        "cases": {},
    }
    for case in cases(np.float64, seed):
        key = case.name.replace(" ", "_")
        arrays |= {f"{key}/{name}": value for name, value in _arrays(case).items()}
        hidden = closed_form.forward(case.net, case.x).preactivations[:-1]
        manifest["cases"][key] = {
            "activation": case.net.activation.name,
            "alpha": getattr(case.net.activation, "alpha", None),
            "smallest_preactivation": min((float(np.abs(z).min()) for z in hidden), default=None),
            "meaning": case.meaning,
        }
    raw = io.BytesIO()
    np.savez_compressed(raw, **arrays)
    manifest["sha256_of_arrays"] = digest(arrays)
    npz, text = folder / "golden.npz", folder / "golden.json"
    with write_atomically(npz) as file:
        file.write(raw.getvalue())
    with write_atomically(text) as file:
        file.write((json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return npz, text


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of names and values, which does not depend on the archive's dates."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name], np.float64).tobytes())
    return found.hexdigest()


def _arrays(case: Case) -> dict[str, np.ndarray]:
    arrays = {"x": case.x, "y": case.y, "multipliers": case.multipliers}
    for layer, (W, b) in enumerate(case.net.layers, start=1):
        arrays[f"W_{layer}"] = W
        if b is not None:
            arrays[f"b_{layer}"] = b
    for name in STORED:
        arrays |= dict(zip(QUESTIONS[name].parts, QUESTIONS[name].reference(case), strict=True))
    return {name: np.asarray(value, np.float64) for name, value in arrays.items()}
