"""The page: a report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikeloom import __version__
from spikeloom.runtime.report.collect import Recording, Report
from spikeloom.runtime.report.constants import constant_groups
from spikeloom.runtime.report.cores import Placement
from spikeloom.runtime.report.plots.bands import plot_bands
from spikeloom.runtime.report.plots.cores import plot_binding, plot_fill, plot_populations, plot_traffic
from spikeloom.runtime.report.plots.evidence import plot_evidence
from spikeloom.runtime.report.plots.figure import is_dark, ramp
from spikeloom.runtime.report.plots.links import plot_links
from spikeloom.runtime.report.plots.mesh import is_fine
from spikeloom.runtime.report.plots.pictures import (
    OFF,
    ON,
    chosen_layers,
    plot_frame,
    plot_layer,
    steps_shown,
)
from spikeloom.runtime.report.plots.rates import plot_rates, plot_step_rates
from spikeloom.runtime.report.units import band, count, percent, quantity, ratio, si, size

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = "spikeloom.runtime.report"
TEMPLATE = "page.html.j2"
MAPPING_TEMPLATE = "mapping.html.j2"
MODES = {"back_to_back": "Back to back", "sensor_paced": "Sensor paced"}
QUANTITIES = {"latency_s": ("Latency", "s"), "energy_j": ("Energy", "J")}
FULLEST = 12
MOST_MISTAKES = 10
DROPPED = {
    "outside": "outside the sensor",
    "backwards": "running backwards in time",
    "jumps": "after a silence that no sensor has",
    "unknown": "records of no kind that the format knows",
    "left_over_bytes": "bytes of a file that are no event",
    "unplaced": "without a time or row",
    "cropped": "outside the crop",
    "late": "after their frame was finished",
    "tail": "after the last frame",
    "saturated": "beyond what a pixel counts",
}


@dataclass(frozen=True)
class Picture:
    """An SVG element with its caption."""

    caption: str
    svg: str


def render(report: Report) -> str:
    """The report as HTML: the same text for the same report.

    Whatever stands in the report is text: names come from the user's model and files, and are
    escaped. The page has no scripts, and forbids them.
    """
    template = _environment().get_template(TEMPLATE)
    return template.render(
        report=report,
        plots=_plots(report),
        frames=_frames(report),
        strips=_strips(report.recording),
        bands=_bands(report),
        modes=MODES,
        quantities=QUANTITIES,
        constants=constant_groups(report),
        **(_chip_values(report.placement) if report.placement else {}),
        most_mistakes=MOST_MISTAKES,
        dropped=DROPPED,
        on=ON,
        off=OFF,
    )


def render_mapping(name: str, placement: Placement) -> str:
    """The mapping of a network alone, as HTML of the same kind."""
    template = _environment().get_template(MAPPING_TEMPLATE)
    plots = _placement_plots(placement)
    return template.render(
        name=name, version=__version__, placement=placement, plots=plots, **_chip_values(placement)
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "band": band,
        "breakable": _breakable,
        "count": count,
        "percent": percent,
        "quantity": quantity,
        "si": si,
        "ratio": ratio,
        "size": size,
        "words": lambda name: name.replace("_", " "),
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "ink": lambda colour: "#ffffff" if is_dark(colour) else "#000000",
    }
    return environment


def _breakable(name: str) -> str:
    """A name that may wrap after each dot, slash and underscore."""
    from markupsafe import escape

    text = str(escape(name))
    for mark in "._/":
        text = text.replace(mark, f"{mark}<wbr>")
    return _safe(text)


def _plots(report: Report) -> dict[str, str]:
    plots = {
        "rates": plot_rates(report.layers),
        "step_rates": plot_step_rates(report.layers),
        "evidence": plot_evidence(report.recording),
    }
    placement = {} if report.placement is None else _placement_plots(report.placement)
    return {name: _safe(svg) for name, svg in plots.items()} | placement


def _placement_plots(placement: Placement) -> dict[str, str]:
    drawn = _drawn(placement)
    plots = {
        "populations": plot_populations(drawn),
        "binding": plot_binding(drawn),
        "traffic": plot_traffic(drawn),
        "links": plot_links(drawn),
    }
    plots |= {f"limit {one.name}": plot_fill(drawn, one.name) for one in placement.limits}
    return {name: _safe(svg) for name, svg in plots.items()}


def _drawn(placement: Placement) -> Placement:
    """Of boards so large that cores are points, the chips in use."""
    return placement.in_use() if is_fine(placement.grid) else placement


def _chip_values(placement: Placement) -> dict[str, Any]:
    """What the part of a page about cores takes."""
    return {
        "colours": ramp(len(placement.populations)),
        "fine": is_fine(_drawn(placement).grid),
        "cropped": _drawn(placement).grid != placement.grid,
        "fullest": FULLEST,
    }


def _frames(report: Report) -> list[Picture]:
    frames, polarity = report.recording.frames, report.recipe.get("polarity", ())
    highest = int(frames.max())
    return [
        Picture(f"step {step + 1}", _safe(plot_frame(frames[step], highest, polarity, f"frame-{step}")))
        for step in steps_shown(len(frames))
    ]


def _strips(recording: Recording) -> list[Picture]:
    return [
        Picture(layer, _safe(plot_layer(recording.spikes[layer], f"spikes-{number}")))
        for number, layer in enumerate(chosen_layers(recording.spikes))
    ]


def _bands(report: Report) -> dict[tuple[str, str], str]:
    modes: Mapping[str, Any] = report.estimate["modes"]
    return {
        (mode, key): _safe(plot_bands(f"{mode}-{key}".replace("_", "-"), values[key], unit))
        for mode, values in modes.items()
        for key, (_, unit) in QUANTITIES.items()
    }


def _safe(svg: str) -> str:
    """An element that we drew ourselves, in which every text is escaped already."""
    from markupsafe import Markup

    return Markup(svg)
