"""The figure and the animation of the 2D toy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import BLACK, GREEN, GREY, NEGATIVE, ORANGE, POSITIVE, save_figure
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D

import kkt_ref
from kkt_ref.attacks.plane import label_points

LIMIT = 1.5
PAPER_GATES = 0.02  # distance in the inputs over which the gates of the paper's attack open
NAMES = {
    "full": "All four KKT conditions",
    "layer_1": "All four conditions of layer 1, where kinks meet",
    "paper": "Stationarity alone (the paper's attack)",
    "paper_best": "Stationarity alone, the run with the smallest loss",
}
# label, its text, marker, colour
TWO = ((1.0, "+1", "^", POSITIVE), (-1.0, "−1", "v", NEGATIVE))
THREE = ((0.0, "0", "^", POSITIVE), (1.0, "1", "v", NEGATIVE), (2.0, "2", "s", GREEN))


@dataclass
class Trace:
    """Candidates and multipliers as an attack moved them, one list for each run."""

    runs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    atoms: np.ndarray | None = None  # points with λ > 0 before merging, (k, 2)
    labels: np.ndarray | None = None  # of the candidates at the end, (m,)
    stages: list[str] = field(default_factory=list)  # of the frames

    def take(self, stage: str, run: int, x: np.ndarray, multipliers: np.ndarray) -> None:
        """Store what an attack passes to its callback."""
        if stage in ("grid", "local"):
            self.atoms = x
        self.runs.setdefault(run, []).append((x, multipliers))
        self.stages.append(stage)

    def ended(self, found: kkt_ref.Reconstruction) -> Trace:
        """The trace of the run with the smallest objective, with its end and its labels."""
        best = found.of_run(found.best)
        frames = [*self.runs[found.best], (best.candidates, best.multipliers)]
        return Trace({0: frames}, self.atoms, best.labels, [*self.stages, "end"])

    @property
    def frames(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Candidates (m, 2) and multipliers (m,) at each call of the callback."""
        return self.runs[0]


def summary(name: str, line: dict[str, Any], n: int) -> str:
    """What a method found, in the words of the figure's titles."""
    return (
        f"{NAMES[name]}:\n{line['matched_05']} of {n} within 0.05, "
        f"{line['matched_01']} within 0.01, {line['strays']} strays"
    )


def _classes(net: kkt_ref.MLP) -> Any:
    return TWO if net.K == 1 else THREE


def _landscape(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Φ / q on a grid, (400, 400); for several outputs the largest minus the next one, / q."""
    ticks = np.linspace(-LIMIT, LIMIT, 400)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # (400, 400, 2)
    points = label_points(net, grid.reshape(-1, 2))
    heights = points.nearest * (points.y if net.K == 1 else 1.0)  # (160000,)
    return heights.reshape(400, 400) / kkt_ref.margins(net, x, y).min()


def _background(ax: Axes, heights: np.ndarray, x: np.ndarray, classes: int) -> Any:
    """Draw Φ / q, its contours and the training points; return the filled contours."""
    ticks, levels = np.linspace(-LIMIT, LIMIT, 400), np.linspace(-3 if classes == 2 else 0, 3, 25)
    colours = "RdBu_r" if classes == 2 else "Greys"
    filled = ax.contourf(ticks, ticks, heights, levels, cmap=colours, alpha=0.35, extend="both")
    margin = dict(colors="0.35", linewidths=0.9, linestyles="solid")
    ax.contour(ticks, ticks, heights, [-1.0, 1.0], **margin)
    ax.contour(ticks, ticks, heights, [0.0], colors="0.5", linewidths=0.8, linestyles="dotted")
    ax.scatter(*x.T, s=190, facecolors="none", edgecolors=BLACK, linewidths=1.3, zorder=5)
    ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")
    ax.set(xlabel="first input $x_1$", ylabel="second input $x_2$")
    ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    return filled


def _sizes(multipliers: np.ndarray) -> np.ndarray:
    return 16 + 64 * multipliers / max(float(multipliers.max()), 1e-300)


def _candidates(ax: Axes, classes: Any) -> list[PathCollection]:
    """Empty dots for the candidates of each label."""
    options = {"edgecolors": "white", "linewidths": 0.5, "zorder": 6}
    return [ax.scatter([], [], marker=mark, c=colour, **options) for *_, mark, colour in classes]


def _place(
    dots: list[PathCollection],
    x: np.ndarray,
    multipliers: np.ndarray,
    labels: np.ndarray,
    classes: Any,
) -> None:
    """Move the dots of each label to candidates (m, 2); their area grows with λ."""
    sizes = _sizes(multipliers)
    for one, (label, *_) in zip(dots, classes, strict=True):
        one.set_offsets(x[labels == label])
        one.set_sizes(sizes[labels == label])


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
    """Save the figure: a panel for each method, and one of the residuals."""
    figure, axes = plt.subplots(
        1,
        len(traces) + 1,
        figsize=(5.8 * len(traces) + 5.6, 7.2),
        layout="constrained",
        squeeze=False,
    )
    figure.get_layout_engine().set(w_pad=0.1)
    axes = axes[0]
    filled, heights, classes = None, _landscape(net, x, y), _classes(net)
    for ax, (name, trace) in zip(axes, traces.items(), strict=False):
        filled = _background(ax, heights, x, len(classes))
        if trace.atoms is not None:
            ax.scatter(*trace.atoms.T, s=16, marker="+", color="0.3", linewidths=0.8, zorder=4)
        (begin, _), (end, multipliers) = trace.frames[0], trace.frames[-1]
        if name == "paper":
            paths = np.stack([frame for frame, _ in trace.frames])  # (iterations, m, 2)
            ax.plot(paths[:, :, 0], paths[:, :, 1], color="0.25", lw=0.5, alpha=0.6, zorder=3)
            ax.scatter(*begin.T, s=16, marker="x", color="0.3", linewidths=0.8, zorder=4)
        _place(_candidates(ax, classes), end, multipliers, trace.labels, classes)
        shown = "paper_best" if name == "paper" else name
        ax.set_title(summary(shown, methods[shown], len(x)))
    if filled is not None:
        bar = figure.colorbar(
            filled, ax=axes[len(traces) - 1], shrink=0.8, ticks=range(-3 if net.K == 1 else 0, 4)
        )
        height = "output Φ(x)" if net.K == 1 else "largest output − next output"
        bar.set_label(f"{height} / margin q")
    _residual_panel(axes[-1], net, traces, methods, kkt)
    figure.legend(handles=_handles(traces, classes), loc="outside lower center", ncols=3)
    if show:
        plt.show()
    save_figure(figure, path)


def _handles(traces: dict[str, Trace], classes: Any) -> list[Line2D]:
    """The legend's entries, of what the panels show."""

    def dots(label: str, **options: Any) -> Line2D:
        return Line2D([], [], ls="", label=label, **options)

    handles = [dots("training point", marker="o", mfc="none", mec=BLACK, ms=11)]
    for _, text, mark, colour in classes:
        name = f"reconstructed, y = {text} (area: multiplier λ)"
        handles.append(dots(name, marker=mark, color=colour, mec="white", ms=8))
    if "full" in traces:
        handles.append(dots("point with λ > 0 before merging", marker="+", color="0.3", ms=5))
    if "paper" in traces:
        handles.append(dots("random start of a candidate", marker="x", color="0.3", ms=5))
        handles.append(Line2D([], [], color="0.25", lw=0.7, label="path of a candidate"))
    margin = "|Φ(x)| = q" if classes is TWO else "Φ_y − Φ_j = q"
    handles.append(Line2D([], [], color="0.35", lw=1.2, label=f"margin {margin}"))
    if classes is TWO:
        handles.append(Line2D([], [], color="0.5", ls=":", label="decision boundary Φ(x) = 0"))
    return handles


def _residual_panel(
    ax: Axes,
    net: kkt_ref.MLP,
    traces: dict[str, Trace],
    methods: dict[str, dict[str, Any]],
    kkt: dict[str, Any],
) -> None:
    """Draw the residual of each method, and that of the true data with the same gates."""
    for name, label in (("full", "all four conditions"), ("layer_1", "conditions of layer 1")):
        if name in methods:
            value = methods[name]["relative_residual"]
            ax.axhline(value, color=GREEN, ls="-", label=f"{label} (convex, one value)")
    label = "stationarity alone (smoothed gates)"
    if "paper" in traces:
        trace = traces["paper"]
        gated = net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, PAPER_GATES)))
        ticks = np.unique(np.geomspace(1, len(trace.frames), 150).astype(int))
        values = []
        for x, multipliers in (trace.frames[tick - 1] for tick in ticks):
            if net.K == 1:
                norms = kkt_ref.kkt.stationarity_norms(gated, x, trace.labels, multipliers)
            else:  # the callback tells the sum of a sample's multipliers, so take the best ones
                norms = kkt_ref.residual_floor(gated, x, trace.labels)
            values.append(norms.relative)
        if net.K > 1:
            label = "stationarity alone (smoothed gates), best λ"
        style = dict(color=ORANGE, ls="-", marker="s", markevery=20)
        ax.plot(ticks, values, label=label, **style)
    if "paper" in traces:
        ax.axhline(kkt["floor"], color=BLACK, ls="--", label="true data, smoothed gates")
    clarke = kkt["stationarity_clarke"]
    ax.axhline(clarke, color=GREY, ls="-.", label="true data, gates free at the kinks")
    ax.set(xscale="log", yscale="log", ylim=(0.08, 5.0), xlabel="iteration of L-BFGS")
    ax.set_yticks([0.1, 0.2, 0.5, 1.0, 2.0], ["0.1", "0.2", "0.5", "1", "2"], minor=False)
    ax.set_yticks([], minor=True)
    ax.set(ylabel="relative residual ‖θ − Σ λ y ∇Φ‖ / ‖θ‖")
    ax.set_title("Residual of stationarity,\neach attack with its own gates")
    ax.legend(loc="upper right")
    ax.grid(True)


def animate(
    net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray, traces: dict[str, Trace], path: Path
) -> None:
    """Write the movement of the candidates as a GIF of 60 frames."""
    figure, axes = plt.subplots(
        1, len(traces), figsize=(5 * len(traces), 5.4), squeeze=False, layout="constrained"
    )
    dots, heights, classes = {}, _landscape(net, x, y), _classes(net)
    for ax, name in zip(axes[0], traces, strict=True):
        _background(ax, heights, x, len(classes))
        ax.set_title(NAMES[name])
        dots[name] = _candidates(ax, classes)

    def update(tick: int) -> list[PathCollection]:
        for name, trace in traces.items():
            # early iterations move most, so the frames are spaced geometrically
            place, multipliers = trace.frames[round(len(trace.frames) ** (tick / 59)) - 1]
            # while candidates come and go, the network's own answer is the label
            comes_and_goes = trace.atoms is not None
            labels = label_points(net, place).y if comes_and_goes else trace.labels
            _place(dots[name], place, multipliers, labels, classes)
        return [one for pair in dots.values() for one in pair]

    animation = FuncAnimation(figure, update, frames=60)
    part = path.with_name(f".{path.name}.part.gif")
    try:
        animation.save(part, writer=PillowWriter(fps=12), dpi=70)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        plt.close(figure)
