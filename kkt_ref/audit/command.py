"""The command ``kkt-ref audit WEIGHTS``: its options, its files and its exit status."""

import argparse
import io
import json
import os
import shlex
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_points
from kkt_ref.audit.fail_if import parse_condition
from kkt_ref.audit.formats import refuse_other_formats
from kkt_ref.audit.measure import Audit, audit
from kkt_ref.audit.provenance import describe_run
from kkt_ref.audit.tables import as_csv, candidate_columns, sample_columns
from kkt_ref.audit.verdict import judge
from kkt_ref.audit.weights import load_weights
from kkt_ref.network.activations import ACTIVATIONS

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
        help="npz: x as the network saw it; perhaps y (labels, classes or numbers) and mean",
    )
    add(
        "--held-out", type=Path, help="npz: x, as many samples that it never saw or more; perhaps y"
    )
    add("--out", type=Path, help="folder for all results (default: NAME_audit)")
    add("--candidates", type=int, help="of each start of the alternation, for images too")
    add("--restarts", type=int, help="starts, at least 2 (default: as kkt_ref.reconstruct)")
    add("--seed", type=int, default=0, help="of the starts (default: 0)")
    names = [name for name in ACTIVATIONS if name != "authors"]
    add("--activation", choices=names, help="if the file does not name it")
    add("--alpha", type=float, help="of gated, softplus, elu; slope of leaky_relu below 0")
    add(
        "--layers",
        type=lambda text: tuple(text.split(",")),
        metavar="A,B,C",
        help="order of the layers, if it is not known",
    )
    add("--shape", type=_shape, metavar="C,H,W", help="or H,W: of the pictures, if x is flat")
    add("--box", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of two inputs")
    add(
        "--fail-if",
        type=parse_condition,
        action="append",
        default=[],
        metavar="CONDITION",
        help="such as 'verdict == shown' or 'tpr001>0.05': exit status 1 if it holds (for CI); "
        "figures are verdict, p (the smallest), ncc08, ncc09 (reconstructed samples), auc, "
        "auc_low, tpr001, tpr0001 (membership)",
    )
    add("--no-conditions", action="store_true", help="do not measure the KKT conditions")
    add("--json", type=json_path, help="also write the numbers to this JSON file")


def run_command(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run the command and return its exit status, which the help explains."""
    out = options.out or Path(f"{options.weights.stem}_audit")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
    try:
        _check_extra()
        _check_outputs(out, options.json)
        return _audit(options, out, shlex.join(["kkt-ref", *arguments]))
    except KeyboardInterrupt:
        _say("\nstopped; nothing was written")
        return STOPPED
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
        said = str(error) or type(error).__name__
        print(f"kkt-ref audit: error: {' '.join(said.split())}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _audit(options: argparse.Namespace, out: Path, command: str) -> int:
    names = ("activation", "alpha", "layers")
    told = {name: getattr(options, name) for name in names}
    weights = load_weights(options.weights, **told)
    data, held_out = _read(options.data), _read(options.held_out)
    mean = data.pop("mean", None)
    if mean is not None:
        mean = check_points(mean.reshape(1, -1), f"{options.data}: mean", d=weights.net.d)[0]
    for condition in options.fail_if:
        condition.check(bool(data), len(held_out.get("x", ())), weights.net.d)
    files = {"weights": options.weights, "training data": options.data}
    run = describe_run(command, files | {"held-out samples": options.held_out})
    seen, unseen = ((f["x"], f.get("y")) if f else None for f in (data, held_out))
    measured = _measure(options, weights.net, seen, unseen)
    verdicts = judge(measured, activation_known=weights.activation_known)
    backend = os.environ.pop("MPLBACKEND", None)  # Matplotlib refuses to start with Jupyter's
    try:
        from kkt_ref.audit import figures, report
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    numbers = report.as_numbers(weights, measured, verdicts) | {"run": run}
    pictures = figures.draw_pictures(measured, mean)

    contents = {out / "candidates.npz": _candidates(measured)}
    contents |= {out / f"{picture.name}.png": picture.png for picture in pictures if picture.png}
    page = report.as_html(numbers, pictures)
    contents[out / "report.html"] = page.encode(errors="replace")  # names of files can be odd
    if measured.data is not None:
        contents[out / "samples.csv"] = as_csv(sample_columns(measured.data, measured.held_out))
    matched = candidate_columns(measured.found, measured.data, measured.held_out)
    contents[out / "candidates.csv"] = as_csv(matched)
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

    announced = {
        "evidence": "comparing training and held-out samples",
        "conditions": "measuring the KKT conditions (--no-conditions leaves them out)",
    }

    def tell(stage: str, run: int, *_: Any) -> None:
        if stage == "attack":
            bar.total = run
        elif stage in announced:
            bar.close()
            _say(announced[stage])
        else:
            bar.update(1)

    with tqdm(
        desc="reconstruct",
        unit="start",
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
            callback=tell,
            conditions=not options.no_conditions,
            **{name: getattr(options, name) for name in names},
        )


def _read(path: Path | None) -> dict[str, np.ndarray]:
    """Read x of an npz file of samples, with the entries "y" and "mean" if it has them."""
    if path is None:
        return {}
    refuse_other_formats(path)
    entries = read_npz(path, "an npz file with x", ("x", "y", "mean"))
    if "x" not in entries:
        raise ValueError(
            f"{path}: expected x in it, with one row for each sample; write it by "
            f"np.savez({path.name!r}, x=x)"
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


def _check_outputs(out: Path, json_file: Path | None) -> None:
    """Raise if a file would be overwritten or could not be written."""
    there = sorted(out.iterdir()) if out.is_dir() else [out] if out.exists() else []
    if there:
        found = f"{there[0].name} and {len(there) - 1} more in it" if out.is_dir() else "a file"
        raise ValueError(f"{out}: expected an empty or new folder, got {found}; use another --out")
    if json_file is not None and json_file.exists():
        raise ValueError(f"{json_file}: exists already; choose another name for --json")
    for folder in (out, out if json_file is None else json_file.parent):
        nearest = next(path for path in (folder / "a").resolve().parents if path.exists())
        try:
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise ValueError(
                f"{nearest}: expected a folder that can be written, but {error.strerror}; choose "
                "another"
            ) from error


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
