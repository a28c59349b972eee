"""The description of the chip, and what the target makes of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from spikeloom.compiler.graph.figure import ORIGINS
from spikeloom.compiler.graph.target import Target, find_target
from spikeloom.compiler.mapping.target import ChipTarget
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.target import FOLDER, Loihi

CHIPS = pytest.mark.parametrize("chip", [loihi1(), loihi2()], ids=["loihi1", "loihi2"])


@CHIPS
def test_it_is_a_chip_target_and_found_by_name(chip: Loihi) -> None:
    target = find_target(chip.name)
    assert isinstance(target, Target)
    assert isinstance(target, ChipTarget)
    assert target.name == target.chip().name == chip.name


@CHIPS
def test_every_number_has_its_source_and_origin(chip: Loihi) -> None:
    description = chip.description
    lines = (FOLDER / f"{chip.name}.toml").read_text().splitlines()
    figures = [*description.chip.figures.values(), *description.costs.values()]
    figures += [*description.neuron.values(), *description.numeric.values()]
    numbers = sum(line.startswith("value =") or "{ value =" in line for line in lines)
    assert len(figures) == numbers
    for figure in figures:
        assert figure.origin in ORIGINS
        assert len(figure.source) > 20


def test_profile_is_the_chips_grid() -> None:
    profile = loihi2().profile(8)
    assert (profile.weight_bits, profile.largest_weight) == (8, 127)
    assert (profile.fraction_bits, profile.threshold_step, profile.threshold_bits) == (7, 64, 17)
    assert (profile.threshold_groups, profile.state_bits, profile.decay_bits) == (8, 24, 12)
    assert (profile.bias_mantissa_bits, profile.bias_exponent_bits) == (13, 3)
    assert loihi2().profile(4).largest_weight == 7


@pytest.mark.parametrize("bits", [1, 9, 16])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(UnsupportedError, match=r"SL0504.*2 to 8 bits"):
        loihi2().profile(bits)


@CHIPS
def test_costs_are_bands_in_si_units(chip: Loihi) -> None:
    costs = chip.costs()
    named = {"e_synop", "e_update", "e_spike", "e_hop", "t_synop", "t_update", "t_spike", "t_barrier"}
    assert named | {"p_static", "p_host", "r_inject"} <= set(costs)
    units = {"e": "J", "t": "s", "p": "W", "r": "1/s"}
    assert all(figure.unit == units[name[0]] for name, figure in costs.items())
    assert all(figure.low > 0 for figure in costs.values())


def test_pilotnet_power_is_within_the_bands() -> None:
    """PilotNet LIF took 68.3 uJ dynamic a step for 2,269,710 synops and 158,509 updates."""
    costs = loihi2().costs()
    low, high = (
        2_269_710 * synop + 158_509 * update
        for synop, update in (
            (costs["e_synop"].low, costs["e_update"].low),
            (costs["e_synop"].high, costs["e_update"].high),
        )
    )
    assert low < 68.3e-6 < high
    assert 2_269_710 * costs["e_synop"].nominal + 158_509 * costs["e_update"].nominal == pytest.approx(
        68.3e-6, rel=0.01
    )


def test_rows_of_synapses_are_as_long_as_in_intels_tables(data: Path) -> None:
    """Words an axon of the MNIST network: its weights need 8 bits, and zeros are stored."""
    encoding = loihi2().chip().encoding
    table = data / "conformance" / "loihi2_measured" / "partition_tables.csv"
    lines = table.read_text().splitlines()
    rows = [row for row in csv.DictReader(lines) if row["net"] == "mnist_mlp"]
    assert len(rows) == 3
    for row in rows:
        words = int(row["synmem_per_core"]) / int(row["axonin"])
        # some axons carry no weight at all and take no row
        assert encoding.row_words(int(row["neurons_per_core"]), 8, True) == pytest.approx(words, rel=0.02)
