"""The figure and the animation of the 2D toy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.lines import Line2D

import kkt_ref
from kkt_ref._io import write_atomically
from kkt_ref.stationarity.closed_form import forward

POSITIVE, NEGATIVE, TRUTH = "#c0392b", "#2456a4", "#111111"
LIMIT = 1.5
PAPER_GATES = 0.02  # distance over which the gates of the paper's way open
TITLES = {"full": "All four KKT conditions", "paper": "The paper's way: stationarity alone"}


@dataclass
class Trace:
    """Candidates and multipliers as an attack moved them, one list a start."""

    runs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    atoms: np.ndarray | None = None  # those of the full-KKT way before merging, (k, 2)
    labels: np.ndarray | None = None  # of the candidates at the end, (m,)

    def take(self, stage: str, run: int, x: np.ndarray, multipliers: np.ndarray) -> None:
        """Take a callback of an attack."""
        if stage in ("grid", "local"):
            self.atoms = x
        self.runs.setdefault(run, []).append((x, multipliers))

    def ended(self, found: kkt_ref.Reconstruction) -> Trace:
        """The trace of the start with the smallest objective, to its end, with its labels."""
        best = found.of_run(found.best)
        frames = [*self.runs[found.best], (best.candidates, best.multipliers)]
        return Trace({0: frames}, self.atoms, best.labels)

    @property
    def frames(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Candidates (m, 2) and multipliers (m,) by iteration."""
        return self.runs[0]


def _background(ax: Any, net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray) -> None:
    ticks = np.linspace(-LIMIT, LIMIT, 400)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # (400, 400, 2)
    outputs = forward(net, grid.reshape(-1, 2)).outputs.reshape(400, 400)
    q = float(kkt_ref.margins(net, x, y).min())
    levels = np.linspace(-3, 3, 25)
    ax.contourf(ticks, ticks, outputs / q, levels, cmap="RdBu_r", alpha=0.4, extend="both")
    ax.contour(ticks, ticks, outputs / q, [-1.0, 1.0], colors="0.35", linewidths=0.8)
    ax.contour(ticks, ticks, outputs, [0.0], colors="0.6", linewidths=0.6, linestyles="dotted")
    ax.scatter(*x.T, s=150, facecolors="none", edgecolors=TRUTH, linewidths=1.3, zorder=5)
    ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")
    ax.set_xticks([-1, 0, 1], ["-1", "0", "1"])
    ax.set_yticks([-1, 0, 1], ["-1", "0", "1"])


def _colours(labels: np.ndarray) -> list[str]:
    return [POSITIVE if label > 0 else NEGATIVE for label in labels]


def _sizes(multipliers: np.ndarray) -> np.ndarray:
    return 4 + 36 * multipliers / max(float(multipliers.max()), 1e-300)


def _at(net: kkt_ref.MLP, trace: Trace, x: np.ndarray) -> list[str]:
    """Colours of a frame: of the labels, or where candidates come and go, of the sign of Φ."""
    return _colours(trace.labels if trace.atoms is None else forward(net, x).outputs)


def _residuals(net: kkt_ref.MLP, trace: Trace) -> np.ndarray:
    gated = net.with_activation(kkt_ref.GatedReLU(kkt_ref.gate_alpha(net, PAPER_GATES)))
    return np.array(
        [kkt_ref.stationarity_norms(gated, x, trace.labels, c).relative for x, c in trace.frames]
    )


def draw(
    net: kkt_ref.MLP,
    x: np.ndarray,
    y: np.ndarray,
    traces: dict[str, Trace],
    methods: dict[str, dict[str, Any]],
    kkt: dict[str, Any],
    path: Path,
    show: bool,
) -> None:
    """Save the figure: a panel a method, and the residuals."""
    figure, axes = plt.subplots(
        1,
        len(traces) + 1,
        figsize=(5.6 * len(traces) + 4.4, 6.2),
        layout="constrained",
        squeeze=False,
    )
    axes = axes[0]
    for ax, (name, trace) in zip(axes, traces.items(), strict=False):
        _background(ax, net, x, y)
        if trace.atoms is not None:
            ax.scatter(*trace.atoms.T, s=3, color="0.45", zorder=3)
        (begin, _), (end, multipliers) = trace.frames[0], trace.frames[-1]
        if name == "paper":
            paths = np.stack([frame for frame, _ in trace.frames])  # (iterations, m, 2)
            for one in np.swapaxes(paths, 0, 1):
                ax.plot(*one.T, color="0.25", linewidth=0.5, alpha=0.6, zorder=4)
            ax.scatter(*begin.T, s=14, marker="x", color="0.3", linewidths=0.8, zorder=4)
        ax.scatter(*end.T, s=_sizes(multipliers), c=_colours(trace.labels), zorder=6)
        line = methods["paper_best" if name == "paper" else name]
        ax.set_title(
            f"{TITLES[name]}\n{line['matched_05']} of {len(x)} points within 0.05, "
            f"{line['strays']} strays"
        )
    _residual_panel(axes[-1], net, traces, methods, kkt)
    handles = [
        Line2D([], [], marker="o", mfc="none", mec=TRUTH, ls="", ms=11, label="training point"),
        Line2D([], [], marker="o", color=POSITIVE, ls="", ms=6, label="reconstructed, y = +1"),
        Line2D([], [], marker="o", color=NEGATIVE, ls="", ms=6, label="reconstructed, y = −1"),
        Line2D([], [], marker=".", color="0.45", ls="", ms=4, label="λ > 0, before merging"),
        Line2D([], [], marker="x", color="0.3", ls="", ms=5, label="random start"),
        Line2D([], [], color="0.25", lw=0.8, label="path"),
        Line2D([], [], color="0.35", lw=1.0, label="margin |Φ| = q"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with write_atomically(path) as file:
        figure.savefig(file, dpi=110, format=path.suffix.lstrip(".") or "png")
    if show:
        plt.show()
    plt.close(figure)


def _residual_panel(
    ax: Any,
    net: kkt_ref.MLP,
    traces: dict[str, Trace],
    methods: dict[str, dict[str, Any]],
    kkt: dict[str, Any],
) -> None:
    full, paper = "#1b7f4d", "#a65a00"
    if "full" in methods:
        value = methods["full"]["relative_residual"]
        ax.axhline(value, color=full, label=f"{TITLES['full']} (convex)")
    if "paper" in traces:
        values = _residuals(net, traces["paper"])
        ax.plot(1 + np.arange(len(values)), values, color=paper, label=TITLES["paper"])
        ax.axhline(kkt["floor"], color=paper, ls="--", lw=1, label="its floor: the true data")
    clarke = kkt["stationarity_clarke"]
    ax.axhline(clarke, color=full, ls="--", lw=1, label="the floor with free kinks: the true data")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(
        xlabel="L-BFGS iteration",
        title="Residual ‖θ − Σλy∇Φ‖ / ‖θ‖\neach attack with its own gates",
    )
    ax.legend(frameon=False, fontsize=9)
    ax.grid(True, which="both", alpha=0.2)


def animate(
    net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray, traces: dict[str, Trace], path: Path
) -> None:
    """Write the candidates' movement as a GIF of 60 frames."""
    figure, axes = plt.subplots(
        1, len(traces), figsize=(5 * len(traces), 5.4), squeeze=False, layout="constrained"
    )
    dots = {}
    for ax, (name, trace) in zip(axes[0], traces.items(), strict=True):
        _background(ax, net, x, y)
        ax.set_title(TITLES[name])
        begin, multipliers = trace.frames[0]
        colours = _at(net, trace, begin)
        dots[name] = ax.scatter(*begin.T, s=_sizes(multipliers), c=colours, zorder=6)

    def update(tick: int) -> list[Any]:
        for name, trace in traces.items():
            last = len(trace.frames) - 1
            # early iterations move most: frames are spaced geometrically
            place, multipliers = trace.frames[round((last + 1) ** (tick / 59)) - 1]
            dots[name].set_offsets(place)
            dots[name].set_sizes(_sizes(multipliers))
            dots[name].set_facecolors(_at(net, trace, place))
        return list(dots.values())

    animation = FuncAnimation(figure, update, frames=60)
    part = path.with_name(f".{path.name}.part.gif")
    try:
        animation.save(part, writer=PillowWriter(fps=12), dpi=70)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        plt.close(figure)
