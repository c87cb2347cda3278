"""Golden vectors: inputs and right answers of the kit as files, for other languages."""

import json
import os
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


def write_golden(folder: str | os.PathLike[str], *, seed: int = 0) -> tuple[Path, Path]:
    """Write ``golden.npz`` and its description ``golden.json``.

    Parameters
    ----------
    folder : path-like
        It is made if it does not exist.  Files of these two names are replaced.
    seed : int
        Draws the inputs, as in :func:`~kkt_ref.conformance.check_implementation`.

    Returns
    -------
    arrays : Path
        The npz: the network, x, y, multipliers and answers of each case, all float64 arrays
        named ``case/quantity``.
    manifest : Path
        The JSON: the activation and the meaning of each case.

    Raises
    ------
    ValueError, TypeError, OSError
        If ``seed`` is not an integer ≥ 0, ``folder`` is not a path, or the folder cannot be
        made or written to.
    """
    folder, seed = check_path(folder, "folder"), check_count(seed, "seed", 0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    manifest: dict[str, Any] = {
        "seed": seed,
        "tolerance": TOLERANCES[np.dtype(np.float64)],
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
        "order_of_parameters": "W_1, b_1, W_2, ..., each in C order; weights are (out, in)",
        "cases": {},
    }
    for case in cases(np.float64, seed):
        key = case.name.replace(" ", "_")
        arrays |= {f"{key}/{name}": value for name, value in _arrays(case).items()}
        net, x, *_ = case.inputs
        hidden = closed_form.forward(net, x).preactivations[:-1]
        manifest["cases"][key] = {
            "activation": net.activation.name,
            "alpha": getattr(net.activation, "alpha", None),
            "smallest_preactivation": min((float(np.abs(z).min()) for z in hidden), default=None),
            "meaning": case.meaning,
        }
    npz, text = folder / "golden.npz", folder / "golden.json"
    with write_atomically(npz) as file:
        np.savez_compressed(file, **arrays)
    with write_atomically(text) as file:
        file.write((json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return npz, text


def _arrays(case: Case) -> dict[str, np.ndarray]:
    net, *samples = case.inputs
    arrays = dict(zip(("x", "y", "multipliers"), samples, strict=True))
    for layer, (W, b) in enumerate(net.layers, start=1):
        arrays[f"W_{layer}"] = W
        if b is not None:
            arrays[f"b_{layer}"] = b
    for name in STORED:
        arrays |= dict(zip(QUESTIONS[name].parts, QUESTIONS[name].reference(case), strict=True))
    return {name: np.asarray(value, np.float64) for name, value in arrays.items()}
