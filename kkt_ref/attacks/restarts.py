"""Several runs of the alternation from random starts, each saved in a file if wanted.

Run r draws from its own generator, and each file is written whole or not at all.  A job
that was stopped at any moment therefore ends with the same numbers as one that was not,
and so does one in several processes.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._parallel import Workers, run_all
from kkt_ref.attacks.alternating import Alternation, alternate
from kkt_ref.attacks.first_layer import FirstLayer


def run_alternations(
    problem: FirstLayer,
    candidates: int,
    restarts: int,
    *,
    seed: int,
    folder: Path | None = None,
    callback: Callable[[int, Alternation], object] | None = None,
    workers: Workers = None,
) -> list[Alternation]:
    """Return the runs in their order, of ``candidates`` random candidates each.

    Run r draws from ``default_rng([seed, r])``.  It is read from the folder if it was saved
    there, where a damaged file raises a ValueError; else it is run, saved, and told by
    ``callback(r, alternation)``, in the order in which the runs end.  ``workers`` are those of
    :func:`kkt_ref._parallel.run_all`.
    """
    runs, shape = dict[int, Alternation](), (candidates, problem.k)
    paths = {r: folder / f"start_{r:05d}.npz" for r in range(restarts)} if folder else {}
    for number, path in paths.items():
        if path.exists():
            runs[number] = _load(path, shape)

    def after(number: int, run: Alternation) -> None:
        runs[number] = run
        if number in paths:
            with write_atomically(paths[number]) as file:
                np.savez(file, **run._asdict())
        if callback is not None:
            callback(number, run)

    products = candidates * (problem.net.theta.size + candidates * len(problem.target))
    run_all(
        partial(_run, problem, shape, seed),
        [number for number in range(restarts) if number not in runs],
        after,
        workers=workers,
        seconds=restarts * 5e-9 * products,
    )
    return [runs[number] for number in range(restarts)]


def _run(problem: FirstLayer, shape: tuple[int, int], seed: int, number: int) -> Alternation:
    return alternate(problem, np.random.default_rng([seed, number]).normal(size=shape))


def _load(path: Path, shape: tuple[int, int]) -> Alternation:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(Alternation._fields, ())
    shapes |= {"coordinates": shape, "labels": shape[:1], "multipliers": shape[:1]}
    kinds = dict(zip(shapes, "ffffiiU", strict=True))
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
