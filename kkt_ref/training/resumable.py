"""Loss-scaled descent with its state on disk, so that it continues after an interruption.

Descent has no other state than the network and its history: a run that was stopped ends with the
same numbers as one that was not.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_count, check_path, check_positive
from kkt_ref.network.mlp import MLP
from kkt_ref.training.descent import Callback, History, Record, TrainResult, loss_scaled_descent


class Resumed(NamedTuple):
    """A training's result, and the seconds that all its parts took together."""

    result: TrainResult
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
    """Train by :func:`~kkt_ref.training.descent.loss_scaled_descent`, from the folder's state.

    Parameters
    ----------
    folder : Path
        An existing folder; its state must be of a call with the same network, data and rate.
    net, x, y, rate, target_loss, max_steps, record_every
        As in :func:`~kkt_ref.training.descent.loss_scaled_descent`.
    save_seconds : float
        Time between saves, ≥ 0; the state is saved at records only, and at the end.
    callback
        As in :func:`~kkt_ref.training.descent.loss_scaled_descent`.

    Returns
    -------
    Resumed

    Raises
    ------
    ValueError, TypeError
        As in :func:`~kkt_ref.training.descent.loss_scaled_descent`; ValueError also if the
        state in the folder is damaged, or that of a network of other shapes.
    """
    check_positive(save_seconds, "save_seconds", zero=True)
    max_steps = check_count(max_steps, "max_steps", 0)
    path = check_path(folder, "folder") / "training.npz"
    net, records, spent = _load(path, net) if path.exists() else (net, [], 0.0)
    done = records.pop().step if records else 0  # this record is made again
    began = last_save = time.monotonic()

    def watch(record: Record, live: MLP) -> None:
        nonlocal last_save
        record = record._replace(step=record.step + done)
        records.append(record)
        if time.monotonic() - last_save >= save_seconds:
            last_save = time.monotonic()
            _save(path, live, records, spent + last_save - began)
        if callback:
            callback(record, live)

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
    _save(path, result.net, records, seconds)
    return Resumed(replace(result, history=History(records), steps=result.steps + done), seconds)


def _named(net: MLP) -> dict[str, np.ndarray]:
    return {f"parameter_{i:02d}": p for i, p in enumerate(net.arrays)}


def _save(path: Path, net: MLP, records: list[Record], seconds: float) -> None:
    with write_atomically(path) as file:
        np.savez(file, records=np.array(records), seconds=seconds, **_named(net))


def _load(path: Path, net: MLP) -> tuple[MLP, list[Record], float]:
    wanted = _named(net)
    try:
        arrays = read_npz(path, "the state of a training")
        kinds = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        rows = (len(arrays["records"]), len(Record._fields))
        other = {"records": (rows, np.dtype(float)), "seconds": ((), np.dtype(float))}
        if kinds != other | {name: (p.shape, p.dtype) for name, p in wanted.items()}:
            raise ValueError("it holds other arrays")
        if not all(np.all(np.isfinite(a)) for a in arrays.values()):
            raise ValueError("an entry of it is not finite")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the state of this training, but {error}; delete the file to train "
            "anew"
        ) from error
    records = [Record(int(row[0]), *map(float, row[1:])) for row in arrays["records"]]
    return net.with_arrays([arrays[name] for name in wanted]), records, float(arrays["seconds"])
