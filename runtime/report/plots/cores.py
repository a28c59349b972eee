"""The cores of the chip: by layer, by the fill of a limit, by traffic."""

from __future__ import annotations

from spikeloom.runtime.report.cores import Core, Placement
from spikeloom.runtime.report.plots.figure import ACCENT, ORANGE, ramp
from spikeloom.runtime.report.plots.mesh import Part, draw_cores


def plot_populations(placement: Placement) -> str:
    """Each core in the colours of the populations on it, with their numbers."""
    colours = ramp(len(placement.populations))

    def look(core: Core) -> tuple[Part, ...]:
        total = sum(neurons for _, neurons in core.parts)
        return tuple(
            Part(colours[index], share=neurons / total, text=str(index + 1)) for index, neurons in core.parts
        )

    return draw_cores(placement, "cores-by-layer", "Cores of the chip, coloured by layer", look)


def plot_binding(placement: Placement) -> str:
    """Each core the darker, the more of its binding limit it uses, with the percentage."""

    def look(core: Core) -> tuple[Part, ...]:
        return (_tinted(core.fill, ACCENT),)

    return draw_cores(
        placement, "cores-by-fill", "Cores of the chip, by the use of their binding limit", look
    )


def plot_fill(placement: Placement, limit: str) -> str:
    """Each core the darker, the more of a limit it uses, with the percentage."""
    most = next(one.value for one in placement.limits if one.name == limit)

    def look(core: Core) -> tuple[Part, ...]:
        return (_tinted(core.uses[limit] / most, ACCENT),)

    words = limit.replace("_", " ")
    return draw_cores(
        placement, f"cores-by-{limit}".replace("_", "-"), f"Cores, by their use of {words}", look
    )


def plot_traffic(placement: Placement) -> str:
    """Each core the darker, the more messages it exchanges with others, in per cent of the busiest.

    Shades go with the square root: few cores exchange much, and the others should be seen.
    """
    most = max((core.traffic for core in placement.cores), default=0.0) or 1.0

    def look(core: Core) -> tuple[Part, ...]:
        return (_tinted(core.traffic / most, ORANGE, root=True),)

    return draw_cores(placement, "cores-by-traffic", "Cores of the chip, by the messages they exchange", look)


def _tinted(share: float, colour: str, root: bool = False) -> Part:
    shade = min(share, 1) ** (0.5 if root else 1)
    return Part(colour, 0.08 + 0.82 * shade, text=f"{100 * share:.0f}")
