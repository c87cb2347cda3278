"""Several runs of the alternation from random starts, each saved in a file if wanted.

Run r draws from its own generator, and each file is written whole or not at all.  A job
that was stopped at any moment therefore ends with the same numbers as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref.attacks.alternating import Alternation, alternate
from kkt_ref.attacks.first_layer import FirstLayer


def run_alternations(
    problem: FirstLayer,
    *,
    candidates: int,
    seed: int,
    restarts: int,
    folder: Path | None = None,
    callback: Callable[[int, Alternation], object] | None = None,
) -> list[Alternation]:
    """Return the runs in their order, of ``candidates`` random candidates each.

    Run r draws from ``default_rng([seed, r])``.  It is read from the folder if it was saved
    there; else it is run, saved, and told by ``callback(r, alternation)``.  The folder
    must belong to this problem and these settings, as :func:`kkt_ref._io.claim` ensures.
    A file that is damaged or of another shape raises a ValueError.
    """
    runs, shape = list[Alternation](), (candidates, problem.k)
    for number in range(restarts):
        path = None if folder is None else folder / f"start_{number:05d}.npz"
        if path is not None and path.exists():
            runs.append(_load(path, shape))
            continue
        rng = np.random.default_rng([seed, number])
        runs.append(alternate(problem, rng.normal(size=shape)))
        if path is not None:
            with write_atomically(path) as file:
                np.savez(file, **runs[-1]._asdict())
        if callback is not None:
            callback(number, runs[-1])
    return runs


def _load(path: Path, shape: tuple[int, int]) -> Alternation:
    again = "delete the file to run it again"
    try:
        arrays = read_npz(path, "a saved run of the attack")
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from error
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(Alternation._fields, ())
    wanted |= {"coordinates": shape, "labels": shape[:1], "multipliers": shape[:1]}
    found = {name: array.shape for name, array in arrays.items()}
    if found != wanted or not all(_is_sound(*item) for item in arrays.items()):
        raise ValueError(f"{path}: expected finite arrays of shapes {wanted}, got {found}; {again}")
    scalars = {name: arrays[name].item() for name, size in wanted.items() if size == ()}
    return Alternation(**{**arrays, **scalars})


def _is_sound(name: str, array: np.ndarray) -> bool:
    if name == "stop_reason":
        return array.dtype.kind == "U"
    return array.dtype.kind in "if" and bool(np.all(np.isfinite(array)))
