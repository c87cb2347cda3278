"""The command ``kkt-ref audit WEIGHTS``: its options, its files and its exit status."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import claim, write_atomically
from kkt_ref._parallel import usable_cores
from kkt_ref.attacks.alternating import Alternation
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.audit.cost import in_words, start_seconds
from kkt_ref.audit.evidence import measure_membership
from kkt_ref.audit.inputs import Samples, load_both
from kkt_ref.audit.run import (
    Audit,
    attack_settings,
    compare,
    measure_conditions,
    run_attack,
    run_settings,
)
from kkt_ref.audit.tables import as_csv, candidates_csv, score_pairs
from kkt_ref.audit.verdict import parse_condition
from kkt_ref.audit.weights import load_weights
from kkt_ref.metrics.matching import Matching
from kkt_ref.metrics.scores import Shape
from kkt_ref.network.mlp import MLP

FAILED, STOPPED = 1, 130
START_OF_WORKERS = 2  # seconds
SLOW = 120  # seconds; a longer attack is announced with the advice to use fewer starts
EXTRA = ("jinja2", "filelock", "threadpoolctl", "tqdm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.description = "What do the weights of a network reveal about its training data?"
    parser.epilog = (
        "The folder --out gets report.html, which needs no other file; candidates.npz (candidates, "
        "labels, multipliers, agreement, restart); candidates.csv and samples.csv with the scores; "
        "the pictures; and the state of the run. Exit status: 0 done, 1 a condition of --fail-if "
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
    add("--resume", action="store_true", help="continue a stopped run, or add data to a run")
    add("--candidates", type=int, help="of each start (default: three for each visible coordinate)")
    add("--restarts", type=int, default=16, help="starts, at least 2 (default: 16)")
    add("--seed", type=int, default=0, help="of the starts (default: 0)")
    add("--activation", choices=("relu", "gated", "softplus"), help="if the file does not name it")
    add("--alpha", type=float, help="sharpness of gated and softplus")
    add("--shape", type=_shape, metavar="C,H,W", help="or H,W: of the pictures, if x is flat")
    edges = ("LOW", "HIGH")
    add("--box", type=float, nargs=2, default=(-1.5, 1.5), metavar=edges, help="of two inputs")
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
        _say(f"\nstopped; the same command with --resume continues from {out}")
        return STOPPED
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
        said = str(error) or type(error).__name__
        print(f"kkt-ref audit: error: {' '.join(said.split())}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _audit(options: argparse.Namespace, out: Path) -> int:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    from tqdm import tqdm  # type: ignore[import-untyped]

    from kkt_ref.audit import figures, report  # matplotlib takes a second to import

    weights = load_weights(options.weights, activation=options.activation, alpha=options.alpha)
    net = weights.net
    data, held_out = load_both(options.data, options.held_out, net.d, net.K)
    shape = _check_fit(options, net, data)
    for condition in options.fail_if:
        condition.check(data is not None, len(held_out.x) if held_out else 0, net.d)
    names = ("candidates", "restarts", "seed", "box")
    problem, settings = attack_settings(net, **{name: getattr(options, name) for name in names})
    claim(out, run_settings(net, settings))

    seconds: dict[str, float] = {}
    audit = Audit(weights, options.weights.name, settings, data, held_out, seconds=seconds)
    if data is not None and data.y is not None:
        with _timed(seconds, "conditions"):
            audit = audit._replace(conditions=measure_conditions(net, data.x, data.y))
    numbers = report.as_numbers(audit)
    for section, rows in report.as_tables(numbers).items():
        _say(report.as_text(section, rows))
    for text in numbers["warnings"]:
        _say(f"warning: {text}")
    if data is not None and held_out is not None and min(len(data.x), len(held_out.x)) > 1:
        with _timed(seconds, "membership"):
            members = measure_membership(net, data.x, held_out.x, seed=options.seed)
        audit = audit._replace(members=members)

    done = len(list(out.glob("start_*.npz")))  # of a stopped run
    if net.d > 2:
        _announce(problem, settings, options.restarts - done)
    bar = tqdm(
        desc="reconstruct",
        unit="start",
        total=options.restarts,
        initial=done,
        mininterval=0.2 if sys.stdout.isatty() else 15.0,
        file=sys.stdout,
        disable=net.d == 2,
    )
    # small matrices, as in the plane, lose time by threads
    with threadpool_limits(limits=1 if net.d == 2 else None), bar, _timed(seconds, "attack"):
        found, failure = run_attack(problem, settings, out, partial(_show_start, bar))
    audit = audit._replace(found=found, failure=failure)
    if data is not None and len(found.labels):
        with _timed(seconds, "comparison"):
            as_many = [data.x] if held_out is None else [data.x, held_out.x[: len(data.x)]]
            compared = [compare(net, settings, found, x) for x in as_many]
            audit = audit._replace(
                matches=compared[0],
                chance=compared[1] if len(compared) > 1 else None,
                pairs=tuple(
                    score_pairs(x, found.candidates, comparison.candidate, shape)
                    for x, comparison in zip(as_many, compared, strict=True)
                ),
            )
    with _timed(seconds, "pictures"):
        pictures = figures.draw_pictures(audit, shape)
    numbers = report.as_numbers(audit)
    tables = report.as_tables(numbers)
    for section in ("data", "membership", "classes", "seconds"):
        if section in tables:
            _say(report.as_text(section, tables[section]))
    for line in numbers["answer"]:
        _say(line)
    contents = {out / f"{picture.name}.png": picture.png for picture in pictures}
    contents[out / "report.html"] = report.as_html(numbers, pictures).encode()
    contents[out / "candidates.csv"] = candidates_csv(
        found,
        {
            name: Matching(comparison.candidate, comparison.score)
            for name, comparison in (("training", audit.matches), ("held-out", audit.chance))
            if comparison is not None
        },
    )
    if audit.matches is not None:
        contents[out / "samples.csv"] = as_csv(report.sample_columns(audit))
    if options.json is not None:
        contents[options.json] = (json.dumps(numbers, indent=2) + "\n").encode()
    arrays: dict[str, Any] = {
        "candidates": found.candidates.astype(net.dtype),
        "labels": found.labels,
        "multipliers": found.multipliers,
        "agreement": np.full(len(found.labels), np.nan),
        "restart": found.run_index,
    }
    if found.agreement is not None:
        arrays["agreement"] = found.agreement
    with write_atomically(out / "candidates.npz") as file:
        np.savez(file, **arrays)
    for path, content in contents.items():
        with write_atomically(path) as file:
            file.write(content)
    _say(f"written: {', '.join(map(str, (out / 'candidates.npz', *contents)))}")
    values = numbers["figures"]
    failed = [c.text for c in options.fail_if if c.compare(values[c.figure], c.value)]
    for text in failed:
        _say(f"failed: {text}")
    return FAILED if failed else 0


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def _announce(problem: FirstLayer, settings: dict[str, Any], restarts: int) -> None:
    """Say how long the attack will take, before it starts."""
    if restarts < 1:
        return
    one = start_seconds(problem, settings["candidates"], settings["seed"])
    cores = min(usable_cores(), restarts)
    whole = one * -(-restarts // cores) + START_OF_WORKERS * (cores > 1)
    text = f"the attack: {restarts} starts of about {in_words(one)} on {cores} cores"
    text += f", together about {in_words(whole)}"
    if whole > SLOW:
        text += "; fewer starts (--restarts 4) take less, and find less; --resume can add more"
    _say(text)


def _show_start(bar: Any, number: int, run: Alternation) -> None:
    bar.set_postfix_str(f"residual {run.residual:.3f}", refresh=False)
    bar.update(1)  # starts end in any order


def _check_fit(options: argparse.Namespace, net: MLP, data: Samples | None) -> Shape | None:
    """Return the shape of the pictures; raise if it or the box does not fit."""
    of_data, given = data.shape if data else None, options.shape
    if given and (int(np.prod(given)) != net.d or of_data not in (None, given)):
        raise ValueError(
            f"--shape: expected sizes whose product is {net.d}, the inputs of the network, as in "
            f"--data if the samples there have a shape, got {','.join(map(str, given))}"
        )
    low, high = options.box
    if net.d == 2 and data and (data.x.min() < low or data.x.max() > high):
        raise ValueError(
            "--box: expected bounds that contain the data, which go from "
            f"{data.x.min():.3g} to {data.x.max():.3g}, got {low:g} to {high:g}"
        )
    return of_data or given


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
    there = [path.name for path in out.iterdir()] if out.is_dir() else []
    # a run that was killed leaves temporary files, and every run its lock
    there = sorted(name for name in there if not name.endswith(".part") and name != ".lock")
    if there and not (options.resume and "settings.json" in there):
        raise ValueError(
            f"{out}: expected an empty or new folder, or with --resume the folder of a run, found "
            f"{there[0]} and {len(there) - 1} more; use another --out"
        )
    if options.json is not None and options.json.exists() and not options.resume:
        raise ValueError(f"{options.json}: exists already; choose another name for --json")


def json_path(text: str) -> Path:
    """Refuse a file that cannot be written, before any work is done."""
    path = Path(text)
    # settings.json is the name of a run's own file
    if path.suffix != ".json" or path.name == "settings.json" or path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a name such as results.json, got {text}")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist; create it first")
    return path


def _shape(text: str) -> Shape:
    sizes = tuple(int(part) for part in text.split(","))
    sizes = (1, *sizes) if len(sizes) == 2 else sizes
    if len(sizes) != 3 or min(sizes) < 1 or sizes[0] not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected C,H,W or H,W with C 1 or 3, got {text}")
    return sizes[0], sizes[1], sizes[2]


def _say(text: str) -> None:
    """Print in whatever encoding the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)
