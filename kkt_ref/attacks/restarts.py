"""Several runs of the alternation from random starts, each saved in a file if wanted.

Run r draws from its own generator, and each file is written whole or not at all.  A job
that was stopped at any moment therefore ends with the same numbers as one that was not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    there, where a damaged file raises a ValueError; else it is run, saved, and told by
    ``callback(r, alternation)``.  :func:`kkt_ref._io.claim` reserves a folder for a problem.
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
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(Alternation._fields, ())
    shapes |= {"coordinates": shape, "labels": shape[:1], "multipliers": shape[:1]}
    kinds = dict(zip(shapes, "ffffiiUf", strict=True))
    wanted = {name: (kinds[name], shapes[name]) for name in shapes}
    try:
        arrays = read_npz(path, "a saved run of the attack")
        found = {name: (array.dtype.kind, array.shape) for name, array in arrays.items()}
        finite = (np.all(np.isfinite(a)) for a in arrays.values() if a.dtype.kind == "f")
        if found != wanted or not all(finite):
            raise ValueError(f"{path}: expected finite arrays of kinds {wanted}, got {found}")
    except ValueError as error:
        raise ValueError(f"{error}; delete the file to run it again") from error
    values: dict[str, Any] = {name: a if a.ndim else a.item() for name, a in arrays.items()}
    return Alternation(**values)
