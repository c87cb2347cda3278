"""What an audit says on the terminal: what is found, and how long it will take."""

from __future__ import annotations

import sys
import time

import numpy as np

from kkt_ref.audit.report import answer
from kkt_ref.audit.run import Audit, Conditions, Network
from kkt_ref.network.weights_file import Weights


def say(text: str) -> None:
    """Print a line in whatever encoding the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"  # Greek letters may not be in it
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def print_network(network: Network, weights: Weights) -> None:
    """What the network is."""
    say(
        f"{weights.kind}: {'-'.join(map(str, network.widths))}, {network.parameters} parameters, "
        f"{network.dtype}, activation {network.activation}"
        + ("" if weights.activation_known else " (assumed)")
    )
    biased = ", ".join(map(str, network.biased)) or "none"
    say(f"homogeneous: {'yes' if network.homogeneous else 'no'}; layers with a bias: {biased}")
    for name, norm in zip(weights.names, network.norms, strict=True):
        say(f"  layer {name}: norm {norm:.4g}")


def print_conditions(measured: Conditions) -> None:
    """How near to a KKT point it is."""
    u, kkt = measured.margins, measured.kkt
    say(
        f"training data: {len(u)} samples, {int(np.sum(u <= 0))} misclassified, margins "
        f"{u.min():.3g} to {u.max():.3g}"
    )
    if kkt is not None:
        layers = ", ".join(f"{part:.2f}" for part in kkt.stationarity.by_layer)
        say("KKT conditions on it (violations; 0 is satisfied)")
        say(f"  stationarity, relative   {kkt.stationarity.relative:.3f}   by layer {layers}")
        say(f"  primal feasibility       {kkt.primal_feasibility:.3f}")
        say(f"  dual feasibility         {kkt.dual_feasibility:.3f}")
        say(f"  complementary slackness  {kkt.complementary_slackness.relative:.3f}")
        for text in kkt.warnings:
            say(f"  note: {text}")
    say(f"residual floor: {measured.floor:.3f}, of layer 1 alone {measured.floor_layer_1:.3f}")


def print_result(result: Audit) -> None:
    """What came back."""
    found = result.found
    say(f"reconstruction: {len(found.reconstruction.labels)} candidates, {found.seconds:.0f} s")
    if found.residual_layer_1 is not None:
        say(f"residual of layer 1 reached: {found.residual_layer_1:.3f}")
    if result.data is not None:
        say(f"{'':32} training   held out")
        for name, value in result.data.numbers.items():
            null = "-" if result.held_out is None else f"{result.held_out.numbers[name]:.3g}"
            say(f"  {name:30} {value:8.3g}   {null:>8}")
    for line in answer(result):
        say(line)


class Bar:
    """A progress bar with the time left: on one line in a terminal, else now and then a line."""

    def __init__(self, what: str) -> None:
        self.what, self.begin, self.last = what, time.perf_counter(), -1e9
        self.start: float | None = None  # part done at the first call: not 0 if resumed

    def show(self, part: float | None, note: str) -> None:
        """Show how much is done, 0 to 1, or None where that is not known."""
        now, terminal, ended = time.perf_counter(), sys.stdout.isatty(), part == 1.0
        if now - self.last < (0.2 if terminal else 15.0) and not ended:
            return
        self.last = now
        spent = now - self.begin
        if part is None:
            line = f"{self.what} {spent:.0f} s  {note}"
        else:
            self.start = part if self.start is None else self.start
            gained = part - self.start
            left = f"  {spent * (1 - part) / gained:.0f} s left" if gained > 0 and not ended else ""
            filled = round(30 * part)
            line = f"{self.what} [{'#' * filled}{'.' * (30 - filled)}] {part:4.0%}{left}  {note}"
        if terminal:
            print(f"\r{line}\x1b[K", end="\n" if ended else "", flush=True)
        else:
            print(line, flush=True)
