"""The command ``kkt-ref audit WEIGHTS``: its options, its files and its exit status."""

import argparse
import io
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_points
from kkt_ref.audit.measure import Audit, audit
from kkt_ref.audit.tables import as_csv, candidate_columns, sample_columns
from kkt_ref.audit.verdict import judge, parse_condition
from kkt_ref.audit.weights import load_weights

FAILED, STOPPED = 1, 130
EXTRA = ("jinja2", "threadpoolctl", "tqdm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.description = "Report what the weights of a network reveal about its training data."
    parser.epilog = (
        "The folder --out gets report.html, which needs no other file; candidates.npz (candidates, "
        "labels, multipliers, agreement, restart); candidates.csv and samples.csv with the scores; "
        "and the pictures. Exit status: 0 done, 1 a condition of --fail-if "
        "holds, 2 misused, 130 stopped."
    )
    add = parser.add_argument
    add("weights", type=Path, help="npz (of kkt_ref, or a state dict's arrays) or safetensors")
    add(
        "--data",
        type=Path,
        help="npz: x as the network saw it, y of -1 and +1 or classes, perhaps mean",
    )
    add("--held-out", type=Path, help="npz: x, as many samples that it never saw or more")
    add("--out", type=Path, help="folder for all results (default: NAME_audit)")
    add("--candidates", type=int, help="of each start of the alternation, for images too")
    add("--restarts", type=int, help="starts, at least 2 (default: as kkt_ref.reconstruct)")
    add("--seed", type=int, default=0, help="of the starts (default: 0)")
    add("--activation", choices=("relu", "gated", "softplus"), help="if the file does not name it")
    add("--alpha", type=float, help="sharpness of gated and softplus")
    add("--shape", type=_shape, metavar="C,H,W", help="or H,W: of the pictures, if x is flat")
    add("--box", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of two inputs")
    add(
        "--fail-if",
        type=parse_condition,
        action="append",
        default=[],
        metavar="CONDITION",
        help="such as 'ncc08>0' or 'tpr001>0.05': exit status 1 if it holds (for CI); figures are "
        "ncc08, ncc09 (reconstructed samples), auc, auc_low, tpr001, tpr0001 (membership)",
    )
    add("--json", type=json_path, help="also write the numbers to this JSON file")


def run_command(options: argparse.Namespace) -> int:
    """Run the command and return its exit status, which the help explains."""
    out = options.out or Path(f"{options.weights.stem}_audit")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
    try:
        _check_extra()
        _check_outputs(out, options)
        return _audit(options, out)
    except KeyboardInterrupt:
        _say("\nstopped; nothing was written")
        return STOPPED
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
        said = str(error) or type(error).__name__
        print(f"kkt-ref audit: error: {' '.join(said.split())}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _audit(options: argparse.Namespace, out: Path) -> int:
    from kkt_ref.audit import figures, report  # matplotlib takes a second to import

    weights = load_weights(options.weights, activation=options.activation, alpha=options.alpha)
    data, held_out = _read(options.data, "x", "y"), _read(options.held_out, "x")
    mean = data.pop("mean", None)
    if mean is not None:
        mean = check_points(mean.reshape(1, -1), f"{options.data}: mean", d=weights.net.d)[0]
    for condition in options.fail_if:
        condition.check(bool(data), len(held_out.get("x", ())), weights.net.d)
    both = (data["x"], data["y"]) if data else None
    measured = _measure(options, weights.net, both, held_out.get("x"))
    verdicts = judge(measured)
    numbers = report.as_numbers(weights, measured, verdicts)
    pictures = figures.draw_pictures(measured, mean)

    contents = {out / "candidates.npz": _candidates(measured)}
    contents |= {out / f"{picture.name}.png": picture.png for picture in pictures}
    contents[out / "report.html"] = report.as_html(numbers, pictures).encode()
    matches = {}
    if measured.data is not None:
        matches["training"] = measured.data.matches
        contents[out / "samples.csv"] = as_csv(sample_columns(measured.data, measured.held_out))
    if measured.held_out is not None:
        matches["held-out"] = measured.held_out.matches
    contents[out / "candidates.csv"] = as_csv(candidate_columns(measured.found, matches))
    if options.json is not None:
        contents[options.json] = (json.dumps(numbers, indent=2) + "\n").encode()
    out.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        with write_atomically(path) as file:
            file.write(content)
    for line in (*numbers["answer"], *(f"warning: {text}" for text in numbers["warnings"])):
        _say(line)
    _say(f"written: {', '.join(map(str, contents))}")
    failed = [c.text for c in options.fail_if if c.holds(numbers["figures"])]
    for text in failed:
        _say(f"failed: {text}")
    return FAILED if failed else 0


def _measure(options: argparse.Namespace, net: Any, data: Any, held_out: Any) -> Audit:
    """Measure with a bar of the starts, which end in any order."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(
        desc="reconstruct",
        unit="start",
        total=options.restarts,
        mininterval=0.2 if sys.stdout.isatty() else 15.0,
        delay=0.1,  # shows nothing before the first start, so that an error comes alone
        file=sys.stdout,
        disable=net.d <= 2,
    ) as bar:
        names = ("candidates", "restarts", "seed", "box")
        return audit(
            net,
            data,
            held_out,
            image_shape=options.shape,
            callback=lambda *_: bar.update(1),
            **{name: getattr(options, name) for name in names},
        )


def _read(path: Path | None, *needed: str) -> dict[str, np.ndarray]:
    """Read an npz file of samples, with an entry "mean" if it has one."""
    if path is None:
        return {}
    entries = read_npz(path, f"an npz file with {' and '.join(needed)}", (*needed, "mean"))
    missing = [name for name in needed if name not in entries]
    if missing:
        arrays = ", ".join(f"{name}={name}" for name in needed)
        raise ValueError(
            f"{path}: expected {' and '.join(missing)} in it, with one row for each sample; write "
            f"it by np.savez({path.name!r}, {arrays})"
        )
    return entries


def _candidates(measured: Audit) -> bytes:
    found, file = measured.found, io.BytesIO()
    unknown = np.full(len(found.labels), np.nan)
    np.savez(
        file,
        candidates=found.candidates.astype(measured.net.dtype),
        labels=found.labels,
        multipliers=found.multipliers,
        agreement=unknown if found.agreement is None else found.agreement,
        restart=found.run_index,
    )
    return file.getvalue()


def _check_extra() -> None:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the audit needs {', '.join(missing)}, not installed here; install with: "
            "pip install 'kkt_ref[audit]'"
        )


def _check_outputs(out: Path, options: argparse.Namespace) -> None:
    """Raise if a file would be overwritten or could not be written."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: expected a folder for the results, got a file")
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if there:
        raise ValueError(
            f"{out}: expected an empty or new folder, found {there[0]} and {len(there) - 1} more; "
            "use another --out"
        )
    parent = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"{out}: expected a folder that can be written; use another --out")
    if options.json is not None and options.json.exists():
        raise ValueError(f"{options.json}: exists already; choose another name for --json")


def json_path(text: str) -> Path:
    """Refuse a file that cannot be written, before any work is done."""
    path = Path(text)
    if path.suffix != ".json" or path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a name such as results.json, got {text}")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist; create it first")
    return path


def _shape(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    return (1, *sizes) if len(sizes) == 2 else sizes


def _say(text: str) -> None:
    """Print in whatever encoding the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)
