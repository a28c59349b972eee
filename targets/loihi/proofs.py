"""The proofs behind a program: no current leaves its 24 bits, and every number has a register.

What arrives at a neuron is bounded over all messages that its sources can send, each at its worst for that
neuron, or silent, as before the first sample arrives: with messages of 0 and 1, that is the sum of its
positive weights, and that of its negative ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spikeloom.errors import Problem
from spikeloom.targets.loihi.program import (
    DECAY_ONE,
    LONGEST_DELAY,
    SHIFT,
    STATE_LIMIT,
    Ints,
    Process,
    Program,
    Synapses,
)
from spikeloom.targets.loihi.registers import bias_registers, weight_fault

THRESHOLD_STEP = 64
THRESHOLD_BITS = 17
Bounds = Mapping[str, tuple[int, int]]


def problems_of(program: Program, messages: Bounds) -> Iterator[Problem]:
    """Everything in a program that the chip cannot hold.

    Args:
        program: with its synapses.
        messages: the least and the largest number that each process sends.
    """
    for process in program.processes:
        if process.model in ("lif", "counter"):
            yield from _current_problems(program, process, messages)
        elif process.model not in ("input", "readout", "sigma_delta"):
            yield from _sum_problems(program, process, messages)
        if process.model == "lif":
            yield from _register_problems(process)
    for one in program.synapses:
        yield from _synapse_problems(one)


def _current_problems(program: Program, process: Process, messages: Bounds) -> Iterator[Problem]:
    """A current that decays is bounded by the graph's own proof, over all steps (``IntegerNeuron.infer``)."""
    low, high = reach(program, process, messages)
    if process.current_decay == DECAY_ONE and max(-int(low.min()), int(high.max())) << SHIFT >= STATE_LIMIT:
        got = f"{int(low.min()) << SHIFT}..{int(high.max()) << SHIFT}"
        yield Problem("SL0503", process.name, "its current could leave 24 bits", "", got, "use fewer bits")


def _sum_problems(program: Program, process: Process, messages: Bounds) -> Iterator[Problem]:
    low, high = (bound + process.bias for bound in reach(program, process, messages))
    if max(-int(low.min()), int(high.max())) >= STATE_LIMIT:
        got = f"{int(low.min())}..{int(high.max())}"
        yield Problem("SL0503", process.name, "its sum could leave 24 bits", "", got, "use fewer bits")


def _register_problems(process: Process) -> Iterator[Problem]:
    try:
        bias_registers(process.bias)
    except ValueError as error:
        yield Problem("SL0504", process.name, "a bias has no mantissa of 13 bits", "", str(error))
    if process.waits and process.threshold.min() < 0:
        yield Problem("SL0602", process.name, "fires before anything has arrived, and its spikes are late")
    if (
        process.threshold % THRESHOLD_STEP
    ).any() or process.threshold.max() >= THRESHOLD_STEP << THRESHOLD_BITS:
        wanted = f"{THRESHOLD_BITS} bits times {THRESHOLD_STEP}"
        yield Problem("SL0504", process.name, "a threshold is off the grid", wanted)


def _synapse_problems(one: Synapses) -> Iterator[Problem]:
    where = f"{one.source} -> {one.target}"
    if fault := weight_fault(one.weights):
        yield Problem("SL0504", where, fault, remedy="quantize for loihi2")
    if one.largest_message >= STATE_LIMIT:
        yield Problem("SL0503", where, "a message could leave 24 bits", "", str(one.largest_message))
    if one.longest > LONGEST_DELAY:
        remedy = "put relay neurons on the short path, or make the network shallower"
        got = str(one.longest)
        yield Problem("SL0603", where, "must wait too long", f"{LONGEST_DELAY} steps", got, remedy)


def reach(program: Program, process: Process, messages: Bounds) -> tuple[Ints, Ints]:
    """[neurons] the least and the largest that can arrive at each in a step, in units of the stored weights.

    Over all ports together; of those that take the largest message, the least and the largest one.
    """
    low, high = (np.zeros(process.size, np.int64) for _ in range(2))
    for one in program.into(process.name):
        targets = np.repeat(np.arange(process.size), np.diff(one.starts))
        ends = [one.weights * end for end in (0, *messages[one.source])]
        least, most = np.min(ends, 0), np.max(ends, 0)
        if process.takes_largest or process.model == "largest":
            np.minimum.at(low, targets, least)
            np.maximum.at(high, targets, most)
        else:
            low += np.bincount(targets, least, process.size).astype(np.int64)
            high += np.bincount(targets, most, process.size).astype(np.int64)
    return low, high
