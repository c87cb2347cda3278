"""Training that survives being stopped, with its state on disk.

A run owns a folder.  Every file in it is written whole or not at all, so that a run
killed at any moment continues from the last file; and because descent has no state but
the network, it ends with the same numbers as one that was never stopped.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_count, check_path, check_positive
from kkt_ref.network.mlp import MLP
from kkt_ref.training.descent import Callback, loss_scaled_descent
from kkt_ref.training.history import History, Record


class Resumed(NamedTuple):
    """What a step of a run gave, and the seconds that it took over all its parts."""

    result: Any  # TrainResult
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


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path, "the state of a run")
    except ValueError as error:
        raise ValueError(f"{error}; delete the file to do it again") from error


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
