"""Figures of a report: what the papers plot, from the same frame as the tables."""

from collections.abc import Callable, Mapping
from pathlib import Path

from reports.figures.banks import bank_histograms
from reports.figures.cost import cost_accuracy
from reports.figures.data import Data
from reports.figures.figure import Figure
from reports.figures.layers import layer_curves
from reports.figures.shots import shots_curves
from reports.figures.spro import spro_curves
from reports.figures.sweeps import parameter_curves
from reports.frame.load import Frame

FIGURES: Mapping[str, Callable[[Data], list[Figure]]] = {
    "shots": shots_curves,
    "parameters": parameter_curves,
    "layers": layer_curves,
    "cost": cost_accuracy,
    "spro": spro_curves,
    "banks": bank_histograms,
}


def figures(frame: Frame) -> list[Figure]:
    """Every figure for which the frame has numbers."""
    data = Data(frame)
    every = (figure for make in FIGURES.values() for figure in make(data))
    return [figure for figure in every if any(panel.series for panel in figure.panels)]


def write_figures(frame: Frame, folder: Path) -> list[Path]:
    """Draw every figure into a folder as PDF, SVG and PNG; returns the files."""
    from reports.figures.draw import draw  # matplotlib takes a second to import

    return [path for figure in figures(frame) for path in draw(figure, folder)]
