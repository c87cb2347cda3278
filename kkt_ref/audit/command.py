"""The command ``python -m kkt_ref audit WEIGHTS``: its options, its order, its exit status."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kkt_ref._io import claim
from kkt_ref._validation import check_box
from kkt_ref.audit.attack import Plan, attack, grid_step, prepare, settings
from kkt_ref.audit.inputs import Samples, load_samples
from kkt_ref.audit.run import (
    Audit,
    compare,
    conditions,
    describe,
)
from kkt_ref.audit.terminal import Bar, print_conditions, print_network, print_result, say
from kkt_ref.audit.warnings import comparison_warnings, data_warnings, network_warnings
from kkt_ref.metrics.scores import Shape
from kkt_ref.network.mlp import MLP
from kkt_ref.network.weights_file import Weights, load_weights

STOPPED = 130
MOST_SAMPLES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "What do a network's weights give away of its training data?"
    parser.epilog = (
        "In --out: report.html, which stands alone; candidates.npz (candidates, labels, "
        "multipliers, agreement, restart); the pictures; the state of the run. Exit status: 0 "
        "done, 2 misused, 130 stopped."
    )
    add = parser.add_argument
    add("weights", type=Path, help="npz (kkt_ref or a state dict's arrays) or safetensors")
    add("--data", type=Path, help="npz: x as the network saw it, y of -1 and +1, perhaps mean")
    add("--held-out", type=Path, help="npz: x, as many samples never trained on")
    add("--out", type=Path, help="folder for all results; by default NAME_audit")
    add("--resume", action="store_true", help="go on where a run was stopped, or add data to it")
    add("--candidates", type=int, help="of each start; by default what the first layer asks for")
    add("--restarts", type=int, default=16, help="starts of the attack, 16; more find more")
    add("--seed", type=int, default=0)
    add("--activation", choices=("relu", "gated", "softplus"), help="if the file does not say it")
    add("--alpha", type=float, help="sharpness of gated and softplus")
    add("--shape", type=_shape, metavar="C,H,W", help="or H,W: of pictures, if not that of --data")
    edges = ("LOW", "HIGH")
    add("--box", type=float, nargs=2, default=(-1.5, 1.5), metavar=edges, help="of two inputs")
    add("--json", type=Path, help="write the numbers for machines")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status: 0 done, 2 misused, 130 stopped."""
    out = options.out or Path(f"{options.weights.stem}_audit")
    with _sigterm_as_interrupt():
        try:
            _check_out(out, options)
            _audit(options, out)
        except KeyboardInterrupt:
            say(f"\nstopped; the same command with --resume goes on from {out}")
            return STOPPED
        except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
            said = str(error) or type(error).__name__
            print(f"python -m kkt_ref audit: error: {' '.join(said.split())}", file=sys.stderr)
            return 2
    return 0


def _audit(options: argparse.Namespace, out: Path) -> None:
    weights = load_weights(options.weights, activation=options.activation, alpha=options.alpha)
    data, held_out = _load(options, weights)
    plan = Plan(options.candidates, options.restarts, options.seed, check_box(options.box))
    shape = _check_fit(options, weights.net, data)
    plan = plan.settled(prepare(weights.net, plan))
    claim(out, settings(weights.net, plan))

    network = describe(weights.net)
    print_network(network, weights)
    known = network_warnings(network, activation_known=weights.activation_known)
    measured = None
    if data:
        measured = conditions(weights.net, data.x, data.y)
        print_conditions(measured)
        known += data_warnings(measured, data.x)
    known += comparison_warnings(data=data is not None, held_out=held_out is not None)
    for text in known:
        say(f"warning: {text}")

    found = attack(weights.net, plan, out, progress=Bar("reconstruct").show)
    step = grid_step(plan) if weights.net.d == 2 else None
    result = Audit(
        network,
        plan,
        found,
        measured,
        compare(weights.net, found.reconstruction, data.x, step=step) if data else None,
        compare(weights.net, found.reconstruction, held_out.x, step=step) if held_out else None,
        tuple(known),
    )
    print_result(result)
    from kkt_ref.audit.output import write_audit  # matplotlib takes a second to import

    written = write_audit(
        result,
        weights,
        options.weights.name,
        out,
        shape=shape,
        data=data,
        held_out=held_out,
        table=options.json,
    )
    say(f"written: {', '.join(map(str, written))}")


def _load(options: argparse.Namespace, weights: Weights) -> tuple[Samples | None, Samples | None]:
    if options.data is None:
        if options.held_out is not None:
            raise ValueError("--held-out: expected with --data, to stand beside its scores")
        return None, None
    data = load_samples(options.data, weights.net.d, labelled=True)
    if len(data.x) > MOST_SAMPLES:
        raise ValueError(
            f"{options.data}: expected at most {MOST_SAMPLES} samples, for the multipliers take "
            f"memory for their square, got {len(data.x)}; give those that matter"
        )
    if options.held_out is None:
        return data, None
    held_out = load_samples(options.held_out, weights.net.d, labelled=False)
    if len(held_out.x) < len(data.x):
        raise ValueError(
            f"{options.held_out}: expected at least {len(data.x)} samples, as many as in --data, "
            f"got {len(held_out.x)}; scores grow with the number of samples"
        )
    trained = {row.tobytes() for row in data.x}
    seen = sum(row.tobytes() in trained for row in held_out.x)
    if seen:
        raise ValueError(
            f"{options.held_out}: expected samples never trained on, but {seen} of them are in "
            "--data too"
        )
    return data, held_out._replace(x=held_out.x[: len(data.x)])


def _check_fit(options: argparse.Namespace, net: MLP, data: Samples | None) -> Shape | None:
    """Return the shape of the pictures; raise if it, or the box, does not fit."""
    of_data, given = data.shape if data else None, options.shape
    if given is not None and int(np.prod(given)) != net.d:
        raise ValueError(
            f"--shape: expected sizes whose product is {net.d}, the inputs of the network, got "
            f"{','.join(map(str, given))}"
        )
    if given is not None and of_data is not None and given != of_data:
        raise ValueError(f"--shape: expected {of_data} as in --data, got {given}; leave it out")
    low, high = options.box
    if net.d == 2 and data and (data.x.min() < low or data.x.max() > high):
        raise ValueError(
            f"--box: expected bounds that hold the data, {data.x.min():.3g} to {data.x.max():.3g}, "
            f"got {low:g} to {high:g}"
        )
    return of_data or given


def _check_out(out: Path, options: argparse.Namespace) -> None:
    """Raise if a file would be overwritten or could not be written."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: expected a folder for the results, got a file")
    there = [path.name for path in out.iterdir()] if out.is_dir() else []
    there = [name for name in there if not name.endswith(".part")]  # of a run that was killed
    if there and not options.resume:
        raise ValueError(
            f"{out}: expected an empty or new folder, found {sorted(there)[0]} and "
            f"{len(there) - 1} more; use --resume to go on from it, or another --out"
        )
    if there and "settings.json" not in there:
        raise ValueError(f"{out}: expected the folder of a run to resume, found other files only")
    path = options.json
    if path is None:
        return
    if not path.resolve().parent.is_dir() and path.resolve().parent != out.resolve():
        raise ValueError(f"{path}: its folder does not exist; create it first")
    if path.suffix != ".json" or path.name == "settings.json":  # the latter is the run's own
        raise ValueError(f"--json: expected a name such as audit.json, got {path}")
    if path.exists() and not options.resume:
        raise ValueError(f"{path}: exists already; remove it, or choose another name for --json")


def _shape(text: str) -> Shape:
    sizes = tuple(int(part) for part in text.split(","))
    sizes = (1, *sizes) if len(sizes) == 2 else sizes
    if len(sizes) != 3 or min(sizes) < 1 or sizes[0] not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected C,H,W or H,W with C 1 or 3, got {text}")
    return sizes[0], sizes[1], sizes[2]


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
