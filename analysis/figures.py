"""Figures from the tables: a table in, a figure out; nothing is computed here that is not shown.

The palette is seaborn's "colorblind"; a configurator has one colour in all figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from wrappers.configurators import configurators as of_this_checkout

matplotlib.use("Agg")

_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g} %")

WIDTH = 10.0
"""Inches; every figure is as wide as the report's column."""
DPI = 160
LEAST_SHOWN = 0.001
"""Share of variance below which a figure leaves a bar out; tables have all."""
_INK = "#222222"
_SOFT = "#6b6b6b"
_STYLE: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": "#9a9a9a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _SOFT,
    "ytick.color": _INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 10,
    "font.size": 10,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def style() -> Iterator[None]:
    """The look that all figures of the report share; a figure is drawn within it."""
    with sns.axes_style("white"), matplotlib.rc_context(_STYLE):
        yield


def colours(configurators: Sequence[str]) -> dict[str, Any]:
    """A colour for each configurator; one of this checkout has the same whatever is beside it."""
    palette = sns.color_palette("colorblind")
    ours = [name for name, each in of_this_checkout().items() if each.configures]
    others = sorted(set(configurators) - set(ours))
    return {name: palette[i % len(palette)] for i, name in enumerate([*ours, *others])}


def test_error(
    table: pd.DataFrame, per_run: pd.DataFrame, defaults: pd.DataFrame, *, title: str = ""
) -> Figure:
    """Default against configured, a panel a variant: a point a run, mean and interval above.

    `table` is that of `configurability`, all of one instance set. Variants that are not in it are
    references: lines through all panels.
    """
    variants = [v for v in defaults["variant"] if v in set(table["variant"])]
    references = defaults[~defaults["variant"].isin(variants)]
    configurators = list(dict.fromkeys(table["configurator"]))
    rows = ["default", *configurators]
    palette = colours(configurators)
    with style():
        height = 1.0 + len(variants) * (0.62 + 0.34 * len(rows))
        figure, panels = _stack(len(variants), height)
        for panel, variant in zip(panels, variants, strict=True):
            own = table[table["variant"] == variant].set_index("configurator")
            base = defaults[defaults["variant"] == variant].iloc[0]
            _mean(panel, 0, base["test_error"], base["low_these"], base["high_these"], _SOFT)
            for y, name in enumerate(configurators, start=1):
                if name not in own.index:
                    continue
                mine = per_run[(per_run["variant"] == variant) & (per_run["configurator"] == name)]
                mine = mine["configured_error"].dropna()
                panel.scatter(
                    mine,
                    np.full(len(mine), y + 0.26),
                    s=16,
                    color=palette[name],
                    alpha=0.75,
                    linewidths=0,
                    zorder=3,
                )
                row = own.loc[name]
                _mean(
                    panel,
                    y,
                    row["configured_error"],
                    row["configured_low_these"],
                    row["configured_high_these"],
                    palette[name],
                )
            panel.set_yticks(range(len(rows)), rows)
            panel.set_ylim(len(rows) - 0.4, -0.6)
            panel.tick_params(axis="y", length=0)
            panel.grid(axis="y", visible=False)
            panel.set_title(variant)
            for _, reference in references.iterrows():
                panel.axvline(reference["test_error"], color=_SOFT, lw=1, ls=(0, (4, 3)), zorder=1)
        for _, reference in references.iterrows():
            panels[0].annotate(
                f"{reference['variant']} {_percent(reference['test_error'])}",
                (reference["test_error"], 1),
                xycoords=("data", "axes fraction"),
                # Above the panel's title, which may begin at the same place.
                xytext=(0, 18),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=_SOFT,
                fontsize=9,
            )
        low, high = panels[0].get_xlim()
        panels[0].set_xlim(low, high + 0.05 * (high - low))
        panels[-1].set_xlabel(
            "test error (1 - balanced accuracy); small dot: one configurator seed, large dot: mean,"
            " bar: 95 %\ninterval on these instances (none with a single run)"
        )
        panels[-1].xaxis.set_major_formatter(_PERCENT)
        _headline(figure, title)
    return figure


def anytime(summary: pd.DataFrame, *, title: str = "") -> Figure:
    """Validated curves, a panel a variant: median over seeds, band between the quartiles."""
    variants = list(dict.fromkeys(summary["variant"]))
    configurators = list(dict.fromkeys(summary["configurator"]))
    palette = colours(configurators)
    with style():
        across = min(len(variants), 3)
        down = -(-len(variants) // across)
        figure, grid = plt.subplots(
            down,
            across,
            figsize=(WIDTH, 0.5 + 3.3 * down),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        panels = list(grid.flat)
        finals: list[dict[str, float]] = []
        for panel, variant in zip(panels, variants, strict=False):
            own = summary[summary["variant"] == variant]
            ends: dict[str, float] = {}
            for name in configurators:
                mine = own[own["configurator"] == name]
                if mine.empty:
                    continue
                panel.fill_between(
                    mine["trial"].to_numpy(float),
                    mine["quartile_1"].to_numpy(float),
                    mine["quartile_3"].to_numpy(float),
                    step="post",
                    color=palette[name],
                    alpha=0.16,
                    linewidth=0,
                )
                panel.step(mine["trial"], mine["median"], where="post", color=palette[name], lw=1.8)
                ends[name] = float(mine["median"].iloc[-1])
            last = float(own["trial"].max())
            panel.set_xscale("log")
            ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if t <= last]
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.tick_params(axis="x", which="minor", length=0)
            panel.set_xlim(1, max(last, 2))
            panel.set_title(variant)
            panel.set_xlabel("trials consumed")
            panel.yaxis.set_major_formatter(_PERCENT)
            panel.yaxis.set_major_locator(MaxNLocator(6))
            finals.append(ends)
        for panel in panels[len(variants) :]:
            panel.set_visible(False)
        for row in grid:
            row[0].set_ylabel("test error of the incumbent")
        low, high = panels[0].get_ylim()
        for panel, ends in zip(panels, finals, strict=False):
            _labels(panel, ends, palette, (high - low) * 0.062)
        _headline(figure, title)
    return figure


def importance(table: pd.DataFrame, *, title: str = "", most: int = 10) -> Figure:
    """Shares of variance with their intervals: components, or families, parameters, pairs."""
    visible = table[table["importance"] >= LEAST_SHOWN]
    groups = visible[visible["kind"] == "component"]
    if groups.empty:
        groups = visible[visible["kind"] == "family"]
    whole = "Components" if "component" in set(groups["kind"]) else "With what depends on it"
    singles, pairs = (visible[visible["kind"] == kind].head(most) for kind in ("single", "pair"))
    blue, orange, green = sns.color_palette("colorblind")[:3]
    with style():
        bars = max(len(groups.head(most + 2)), len(singles), len(pairs), 1)
        figure, panels = plt.subplots(
            1, 3, figsize=(WIDTH, 1.3 + 0.36 * bars), layout="constrained"
        )
        for panel, shown, colour, heading in zip(
            panels,
            (groups.head(most + 2), singles, pairs),
            (orange, blue, green),
            (whole, "Parameters", "What pairs add"),
            strict=True,
        ):
            names = [
                f"{name}\n× {other}" if kind == "pair" else name
                for kind, name, other in zip(
                    shown["kind"], shown["parameter"], shown["other"], strict=True
                )
            ]
            _bars(panel, names, shown, colour)
            panel.set_title(heading)
            panel.set_ylim(bars - 0.4, -0.6)
            panel.tick_params(axis="y", labelsize=8)
        _headline(figure, title)
    return figure


def ablation(table: pd.DataFrame, *, title: str = "", unit: str = "error") -> Figure:
    """The path as a waterfall: from the default's cost, a bar a step, to the incumbent's."""
    blue, orange = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]
    costs = table["cost"].to_numpy(float)
    labels = ["default configuration"]
    labels += [
        _wrapped(text.replace(" > ", " → ").split("; "), 60) for text in table["changes"].iloc[1:]
    ]
    lines = np.array([label.count("\n") + 1 for label in labels], dtype=float)
    heights = 0.16 + 0.19 * lines
    places = np.cumsum(heights) - heights / 2
    with style():
        figure, panel = plt.subplots(figsize=(WIDTH, 1.2 + heights.sum()), layout="constrained")
        spread = float(np.ptp(costs)) or max(float(costs[0]), 1e-3)
        for i in range(1, len(costs)):
            before, after = costs[i - 1], costs[i]
            panel.barh(
                places[i],
                after - before,
                left=before,
                height=0.2,
                color=blue if after <= before else orange,
                zorder=3,
            )
            panel.plot([before] * 2, places[[i - 1, i]], color="#9a9a9a", lw=1, zorder=2)
            # A change of almost nothing would be no bar at all.
            panel.plot([after] * 2, places[i] + np.array([-0.1, 0.1]), color=_INK, lw=1, zorder=4)
            side = 1 if after > before else -1
            panel.annotate(
                _percent(after),
                (after, places[i]),
                xytext=(4 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                fontsize=9,
            )
        panel.scatter(costs[0], places[0], s=34, color=_SOFT, zorder=4)
        panel.annotate(
            _percent(costs[0]),
            (costs[0], places[0]),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
        panel.set_yticks(places, labels)
        panel.tick_params(axis="y", length=0, labelsize=8.5)
        panel.set_ylim(heights.sum() + 0.05, -0.05)
        panel.set_xlim(costs.min() - 0.14 * spread, costs.max() + 0.14 * spread)
        panel.grid(axis="y", visible=False)
        panel.xaxis.set_major_formatter(_PERCENT)
        panel.set_xlabel(f"{unit} after the change; blue: better, orange: worse")
        _headline(figure, title)
    return figure


def _stack(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    figure, grid = plt.subplots(
        panels, 1, figsize=(WIDTH, height), sharex=True, squeeze=False, layout="constrained"
    )
    return figure, list(grid[:, 0])


def _mean(panel: Axes, y: float, mean: float, low: float, high: float, colour: Any) -> None:
    """A mean with its interval, which may be NaN."""
    panel.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="round", zorder=4)
    panel.scatter(mean, y, s=46, color=colour, edgecolors="white", linewidths=0.8, zorder=5)
    panel.annotate(
        _percent(mean),
        (max(mean, high), y),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _bars(panel: Axes, names: list[str], table: pd.DataFrame, colour: Any) -> None:
    places = np.arange(len(table))
    values = table["importance"].to_numpy(float)
    least, most = table["least"].to_numpy(float), table["most"].to_numpy(float)
    panel.barh(places, values, color=colour, height=0.6, zorder=3)
    panel.hlines(places, least, most, color=_INK, lw=1, zorder=4)
    for place, value, end in zip(places, values, np.maximum(values, most), strict=True):
        panel.annotate(
            _percent(value),
            (end, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=_SOFT,
        )
    panel.set_yticks(places, names)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)
    panel.set_xlim(0, max(float(most.max(initial=0.0)) * 1.35, 0.02))
    panel.xaxis.set_major_formatter(_PERCENT)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.set_xlabel("of the variance, 95 % interval")


def _labels(panel: Axes, ends: Mapping[str, float], palette: Mapping[str, Any], gap: float) -> None:
    """Names at the right ends of curves, moved apart where they would overlap."""
    names = sorted(ends, key=lambda name: ends[name])
    places = np.array([ends[name] for name in names])
    for _ in range(200):
        over = gap - np.diff(places)
        if not (over > 1e-9 * gap).any():
            break
        for i in np.flatnonzero(over > 0):
            shift = max(gap - (places[i + 1] - places[i]), 0.0) / 2
            places[i] -= shift
            places[i + 1] += shift
    for name, place in zip(names, places, strict=True):
        panel.annotate(
            name,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=palette[name],
            fontsize=9,
            annotation_clip=False,
        )


def _headline(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=_INK)


def _wrapped(pieces: Sequence[str], width: int) -> str:
    """The pieces, a semicolon between them, on as few lines as they fit on uncut."""
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) + 2 > width:
            lines[-1] += ";"
            lines.append(piece)
        else:
            lines[-1] += f"; {piece}"
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
