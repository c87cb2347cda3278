"""Long runs that survive being stopped: training and starts with their state on disk.

A run owns a folder.  Every file in it is written whole or not at all, so that a run
killed at any moment continues from the last file; and because descent has no state but
the network, and start r draws from its own generator, it ends with the same numbers as
one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_count, check_kind, check_path, check_positive
from kkt_ref.attacks.alternating import Start, run_starts
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.network.mlp import MLP
from kkt_ref.training.descent import Callback, loss_scaled_descent
from kkt_ref.training.history import History, Record


class Resumed(NamedTuple):
    """What a step of a run gave, and the seconds that it took over all its parts."""

    result: Any  # TrainResult or list of Start
    seconds: float


def resumable_descent(
    folder: Path,
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    rate: float,
    target_loss: float,
    max_steps: int = 100_000,
    record_every: int = 50,
    save_seconds: float = 20.0,
    callback: Callback | None = None,
) -> Resumed:
    """Train by :func:`~kkt_ref.loss_scaled_descent`, from where the folder's state is.

    Parameters
    ----------
    folder : Path
        As returned by :func:`~kkt_ref._io.claim`; its settings must pin down
        ``net``, data and rate.
    net, x, y, rate, target_loss, max_steps, record_every
        As in :func:`~kkt_ref.loss_scaled_descent`.
    save_seconds : float
        Time between saves, ≥ 0; saved at records only.
    callback
        As in :func:`~kkt_ref.loss_scaled_descent`.

    Returns
    -------
    Resumed
        With the TrainResult of a run that was never stopped.

    Raises
    ------
    ValueError, TypeError
        As in :func:`~kkt_ref.loss_scaled_descent`, or if the state is damaged.
    """
    check_positive(save_seconds, "save_seconds", zero=True)
    max_steps, folder = check_count(max_steps, "max_steps", 0), check_path(folder, "folder")
    path = folder / "training.npz"
    net, records, spent = _load_training(path, net) if path.exists() else (net, [], 0.0)
    done = records.pop().step if records else 0  # its record is made again
    began = last_save = time.monotonic()

    def watch(record: Record, live: MLP) -> bool:
        nonlocal last_save
        record = record._replace(step=record.step + done)
        records.append(record)
        if time.monotonic() - last_save >= save_seconds:
            last_save = time.monotonic()
            _save_training(path, live, records, spent + last_save - began)
        return bool(callback and callback(record, live))

    result = loss_scaled_descent(
        net,
        x,
        y,
        rate=rate,
        target_loss=target_loss,
        max_steps=max(max_steps - done, 0),
        record_every=record_every,
        callback=watch,
    )
    seconds = spent if spent and result.steps == 0 else spent + time.monotonic() - began
    _save_training(path, result.net, records, seconds)
    return Resumed(replace(result, history=History(records), steps=result.steps + done), seconds)


def resumable_starts(
    folder: Path,
    problem: FirstLayer,
    *,
    candidates: int,
    seed: int,
    restarts: int,
    callback: Callable[[int, Start], object] | None = None,
) -> Resumed:
    """Run :func:`~kkt_ref.attacks.alternating.run_starts`, a file for each start, none run twice.

    Parameters
    ----------
    folder : Path
        As returned by :func:`~kkt_ref._io.claim`; its settings must pin down
        all that follows but the number of starts.
    problem, candidates, seed, restarts, callback
        As in :func:`~kkt_ref.attacks.alternating.run_starts`; the callback sees new starts only.

    Returns
    -------
    Resumed
        With a list of Start.

    Raises
    ------
    ValueError
        As in :func:`~kkt_ref.attacks.alternating.run_starts`, or if a file is damaged.
    """
    check_kind(problem, FirstLayer, "problem")
    folder, restarts = check_path(folder, "folder"), check_count(restarts, "restarts")
    candidates = check_count(candidates, "candidates")
    finished: list[Start] = []
    seconds = 0.0
    while len(finished) < restarts and _start_path(folder, len(finished)).exists():
        path = _start_path(folder, len(finished))
        start, spent = _load_start(path, (candidates, problem.k))
        finished.append(start)
        seconds += spent
    last = time.monotonic()

    def keep(restart: int, start: Start) -> None:
        nonlocal last, seconds
        spent, last = time.monotonic() - last, time.monotonic()
        seconds += spent
        with write_atomically(_start_path(folder, restart)) as file:
            np.savez(file, seconds=spent, **start._asdict())
        if callback is not None:
            callback(restart, start)

    starts = run_starts(
        problem,
        candidates=candidates,
        seed=seed,
        restarts=restarts,
        finished=finished,
        callback=keep,
    )
    return Resumed(starts, seconds)


def _start_path(folder: Path, restart: int) -> Path:
    return folder / f"start_{restart:05d}.npz"


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path, "the state of a run")
    except ValueError as error:
        raise ValueError(f"{error}; delete the file to do it again") from error


def _load_start(path: Path, shape: tuple[int, int]) -> tuple[Start, float]:
    arrays = _load(path)
    wanted = dict.fromkeys(("residual", "steps", "seconds"), ())
    wanted |= {"coordinates": shape, "labels": shape[:1], "multipliers": shape[:1]}
    found = {name: array.shape for name, array in arrays.items()}
    if found != wanted or not all(map(_is_finite, arrays.values())):
        raise ValueError(
            f"{path}: expected finite arrays of shapes {wanted}, got {found}; delete the file to "
            "do it again"
        )
    seconds = float(arrays.pop("seconds"))
    scalars = {"residual": float(arrays["residual"]), "steps": int(arrays["steps"])}
    return Start(**arrays | scalars), seconds


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "if" and bool(np.all(np.isfinite(array)))


def _save_training(path: Path, net: MLP, records: list[Record], seconds: float) -> None:
    parameters = {f"parameter_{i:02d}": p for i, p in enumerate(net.arrays)}
    with write_atomically(path) as file:
        np.savez(file, records=np.array(records), seconds=seconds, **parameters)


def _load_training(path: Path, net: MLP) -> tuple[MLP, list[Record], float]:
    arrays = _load(path)
    try:
        if not all(map(_is_finite, arrays.values())):
            raise ValueError("an array is not finite")
        seconds, table = arrays.pop("seconds"), arrays.pop("records")
        if seconds.shape != () or table.ndim != 2 or table.shape[1] != len(Record._fields):
            raise ValueError("its records are no table")
        parameters = [arrays[name] for name in sorted(arrays)]
        kinds = [[(p.shape, p.dtype) for p in ps] for ps in (parameters, net.arrays)]
        if kinds[0] != kinds[1]:
            raise ValueError("its network has other parameters")
        records = [Record(int(row[0]), *map(float, row[1:])) for row in table]
        return net.with_arrays(parameters), records, float(seconds)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the state of this training, but {error}; delete the file to do "
            "it again"
        ) from error
