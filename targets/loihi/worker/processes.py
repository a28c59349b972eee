"""Lava processes for what Lava's library has no process for: simulations of Loihi 2 neuron programs.

Imported under the bare name ``processes`` by ``run.py`` beside it, in Python 3.10 with lava-nc 0.10.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import AbstractPyLifModelFixed
from lava.proc.lif.process import LIFReset
from lava.proc.rf.models import AbstractPyRFModelFixed
from lava.proc.rf.process import RF
from lava.proc.sdn.models import AbstractSigmaDeltaModel
from lava.proc.sdn.process import ActivationMode, SigmaDelta

Settings = Any


class GroupedLIF(LIFReset):
    """Lava's LIF with a threshold for each neuron: several of its processes, one a threshold, in one.

    It has no bias before the step ``first``, as all processes of this file send no constant before.
    """

    def __init__(self, *, vth: Settings, shape: tuple[int, ...], first: int, **settings: Settings) -> None:
        super().__init__(vth=0, shape=shape, **settings)
        self.vth = Var(shape=shape, init=vth)
        self.proc_params["first"] = first


@implements(proc=GroupedLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyGroupedLIF(AbstractPyLifModelFixed):
    """Lava's own arithmetic; only the thresholds are an array."""

    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=17)

    def run_spk(self) -> None:
        """Reset, integrate, fire."""
        arrived = self.a_in.recv()
        self.scale_bias()
        if self.time_step % self.proc_params["reset_interval"] == self.proc_params["reset_offset"]:
            self.u[:], self.v[:] = 0, 0
        self.subthr_dynamics(activation_in=arrived)
        spikes = self.v > np.left_shift(self.vth, self.vth_shift)
        self.reset_voltage(spike_vector=spikes)
        self.s_out.send(spikes & _has_begun(self))


class Counter(AbstractProcess):
    """As many spikes as thresholds are exceeded; v is set to 0, or falls by ``reset_by`` for each."""

    def __init__(self, *, shape: tuple[int, ...], theta: Settings, bias: Settings, **settings: int) -> None:
        super().__init__(shape=shape, **settings)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.theta = Var(shape=theta.shape, init=theta)
        self.bias = Var(shape=shape, init=bias)


class SubtractingCounter(Counter):
    """A counter with ``reset_by``."""

    def __init__(self, *, shape: tuple[int, ...], reset_by: Settings, **settings: Settings) -> None:
        super().__init__(shape=shape, **settings)
        self.reset_by = Var(shape=shape, init=reset_by)


class _PyCounter(PyLoihiProcessModel):
    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u: np.ndarray = LavaPyType(np.ndarray, np.int64)
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    theta: np.ndarray = LavaPyType(np.ndarray, np.int64)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self) -> None:
        """Reset, work, send."""
        arrived = self.a_in.recv()
        self.begin()
        self.s_out.send(self.work(arrived, ...) * _has_begun(self))

    def begin(self) -> None:
        """Reset, where it is time."""
        settings = self.proc_params
        if self.time_step % settings["reset_interval"] == settings["reset_offset"]:
            self.u[:], self.v[:] = 0, 0

    def work(self, arrived: Settings, chosen: Settings) -> Settings:
        """Decay, integrate, count; of the chosen neurons alone the state changes."""
        settings = self.proc_params
        u = _leak(self.u, settings["current_decay"]) + (arrived.astype(np.int64) << 6)
        v = _leak(self.v, settings["decay"]) + u + self.bias
        spikes = (v > self.theta).sum(0)
        self.u[chosen] = u[chosen]
        self.v[chosen] = self.after(v, spikes)[chosen]
        return spikes.astype(np.int32)

    def after(self, v: Settings, spikes: Settings) -> Settings:
        """V after the spikes."""
        return np.where(spikes > 0, 0, v)


@implements(proc=Counter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyCounter(_PyCounter):
    """Set to 0 by a spike."""


class _PySubtractingCounter(_PyCounter):
    reset_by: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def after(self, v: Settings, spikes: Settings) -> Settings:
        """V after the spikes."""
        return v - spikes * self.reset_by


@implements(proc=SubtractingCounter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySubtractingCounter(_PySubtractingCounter):
    """Lowered by every spike."""


class ResetSigmaDelta(SigmaDelta):
    """Lava's sigma-delta neuron in state units, with a constant that arrives, and a reset."""

    def __init__(
        self, *, shape: tuple[int, ...], threshold: int, bias: Settings, arrives: Settings, **settings: int
    ) -> None:
        mode = ActivationMode.RELU if settings["rectifies"] else ActivationMode.UNIT
        super().__init__(shape=shape, vth=0, act_mode=mode, state_exp=settings["shift"], **settings)
        self.vth = Var(shape=(1,), init=threshold)
        self.bias = Var(shape=shape, init=bias)
        self.arrives = Var(shape=shape, init=arrives)


class ResetDelta(ResetSigmaDelta):
    """The same of what arrives itself instead of its sum: Lava's delta encoder, behind an activation."""


class _PyResetSigmaDelta(AbstractSigmaDeltaModel):
    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int32)
    sigma: np.ndarray = LavaPyType(np.ndarray, np.int32)
    act: np.ndarray = LavaPyType(np.ndarray, np.int32)
    residue: np.ndarray = LavaPyType(np.ndarray, np.int32)
    error: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int32)
    spike_exp: np.ndarray = LavaPyType(np.ndarray, np.int32)
    state_exp: np.ndarray = LavaPyType(np.ndarray, np.int32)
    cum_error: np.ndarray = LavaPyType(np.ndarray, bool)
    arrives: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Reset, sum, rectify, send what changed."""
        settings = self.proc_params
        held = (self.a_in.recv() + self.arrives + 2**23) % 2**24 - 2**23
        arrived = np.left_shift(held, settings["input_shift"])
        if self.time_step % settings["reset_interval"] == settings["reset_offset"]:
            self.sigma, self.act, self.residue = (np.zeros_like(arrived) for _ in range(3))
        sent = np.right_shift(self.dynamics(arrived), self.state_exp)
        self.s_out.send(np.clip(sent, -settings["limit"], settings["limit"]) * _has_begun(self))

    def sigma_dynamics(self, a_in_data: Settings) -> Settings:
        """Lava's sum, in 24 bits."""
        return np.clip(super().sigma_dynamics(a_in_data), 1 - 2**23, 2**23 - 1)


@implements(proc=ResetSigmaDelta, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyResetSigmaDelta(_PyResetSigmaDelta):
    """Lava's own arithmetic, in the widths that the chip has."""


@implements(proc=ResetDelta, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyResetDelta(_PyResetSigmaDelta):
    """Lava's own arithmetic, in the widths that the chip has."""

    def sigma_dynamics(self, a_in_data: Settings) -> Settings:
        """What arrived."""
        return a_in_data


class ResetRF(RF):
    """Lava's resonator with the registers of its turn as they are, and a reset."""

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        cosine: int,
        sine: int,
        threshold: int,
        fraction_bits: int,
        **resets: int,
    ) -> None:
        super().__init__(shape=shape, period=4, alpha=0, decay_bits=12, state_exp=fraction_bits)
        self.cos_decay = Var(shape=(1,), init=cosine)
        self.sin_decay = Var(shape=(1,), init=sine)
        self.vth = Var(shape=(1,), init=threshold)
        for name, value in resets.items():
            self.proc_params[name] = value


class ResetRFIZ(ResetRF):
    """The same as Izhikevich has it: a threshold for the imaginary part, and a reset by each spike."""


class _PyResetRF(AbstractPyRFModelFixed):
    """Registers with sign, as a turn by more than a right angle needs, and sums of more than 16 bits."""

    a_real_in = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_imag_in = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    sin_decay: int = LavaPyType(int, np.int32, precision=12)
    cos_decay: int = LavaPyType(int, np.int32, precision=12)

    def run_spk(self) -> None:
        """Reset, Lava's own turn, clip, fire."""
        settings = self.proc_params
        arrived = [np.left_shift(port.recv(), self.state_exp) for port in (self.a_real_in, self.a_imag_in)]
        if self.time_step % settings["reset_interval"] == settings["reset_offset"]:
            self.real[:], self.imag[:] = 0, 0
        turned = self.resonator_dynamics(*arrived, np.int64(self.real), np.int64(self.imag))
        real, imag = (np.clip(part, self.neg_voltage_limit, self.pos_voltage_limit) for part in turned)
        self.s_out.send(self.fire(real, imag))

    def fire(self, real: Settings, imag: Settings) -> Settings:
        """Spikes; the state is that after them."""
        raise NotImplementedError


@implements(proc=ResetRF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyResetRF(_PyResetRF):
    """Fires by its phase."""

    def fire(self, real: Settings, imag: Settings) -> Settings:
        """As it passes the real axis."""
        spikes = (real >= self.vth) * (imag >= 0) * (self.imag < 0)
        self.real[:], self.imag[:] = real, imag
        return spikes


@implements(proc=ResetRFIZ, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyResetRFIZ(_PyResetRF):
    """Fires over a threshold."""

    def fire(self, real: Settings, imag: Settings) -> Settings:
        """Where the imaginary part reaches the threshold."""
        spikes = imag >= self.vth
        self.real[:] = real * (1 - spikes)
        self.imag[:] = spikes * (self.vth - 1) + (1 - spikes) * imag
        return spikes


class Sum(AbstractProcess):
    """Sends what arrives and a constant, as one graded spike."""

    def __init__(self, *, shape: tuple[int, ...], bias: Settings, **settings: int) -> None:
        super().__init__(shape=shape, **settings)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.bias = Var(shape=shape, init=bias)


class _PySum(PyLoihiProcessModel):
    """No state."""

    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Add and send."""
        self.s_out.send(self.work(self.a_in.recv(), ...) * _has_begun(self))

    def work(self, arrived: Settings, chosen: Settings) -> Settings:
        """Add."""
        return arrived + self.bias


@implements(proc=Sum, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySum(_PySum):
    """In every chip step."""


class GatedSum(Sum):
    """A sum that is sent in ``count`` network steps of a sample, from ``start``."""


@implements(proc=GatedSum, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyGatedSum(_PySum):
    """Counts the steps of the sample."""

    def work(self, arrived: Settings, chosen: Settings) -> Settings:
        """Add, or nothing."""
        settings = self.proc_params
        step = (self.time_step - 1 - settings["depth"]) % settings["interval"] // settings["steps"]
        is_open = settings["start"] <= step < settings["start"] + settings["count"]
        return (arrived + self.bias) * is_open


class Relay(AbstractProcess):
    """Sends what arrives and a constant in another unit: clip(((x * factor + half) >> shift) + offset)."""

    def __init__(
        self, *, shape: tuple[int, ...], bias: Settings, factor: Settings, offset: Settings, **settings: int
    ) -> None:
        super().__init__(shape=shape, **settings)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.bias = Var(shape=shape, init=bias)
        self.factor = Var(shape=shape, init=factor)
        self.offset = Var(shape=shape, init=offset)


class _PyRelay(PyLoihiProcessModel):
    """No state; ``shift``, ``low`` and ``high`` are settings."""

    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int64)
    factor: np.ndarray = LavaPyType(np.ndarray, np.int64)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self) -> None:
        """Work and send."""
        self.s_out.send(self.work(self.a_in.recv(), ...) * _has_begun(self))

    def work(self, arrived: Settings, chosen: Settings) -> Settings:
        """Add, multiply, shift, clip."""
        settings = self.proc_params
        product = (arrived.astype(np.int64) + self.bias) * self.factor
        moved = (product + ((1 << settings["shift"]) // 2)) >> settings["shift"]
        sent = np.clip(moved + self.offset, settings["low"], settings["high"])
        return sent.astype(np.int32)


@implements(proc=Relay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRelay(_PyRelay):
    """In every chip step."""


class _Slotted(AbstractProcess):
    """Neurons that take what arrives in one chip step of a network step, and send in one."""

    def __init__(self, *, takes: Settings, sends: Settings, **settings: Settings) -> None:
        super().__init__(**settings)
        self.takes = Var(shape=takes.shape, init=takes)
        self.sends = Var(shape=sends.shape, init=sends)
        self.kept = Var(shape=takes.shape, init=0)


class SlottedCounter(_Slotted, Counter):
    """A counter in slots; the chip's LIF in slots is one with one threshold."""


class SlottedSubtractingCounter(_Slotted, SubtractingCounter):
    """A counter with ``reset_by`` in slots."""


class SlottedSum(_Slotted, Sum):
    """A sum in slots."""


class SlottedRelay(_Slotted, Relay):
    """A relay in slots."""


class _PySlotted(PyLoihiProcessModel):
    """Neurons whose slot it is work; those whose slot it is send what they made."""

    takes: np.ndarray = LavaPyType(np.ndarray, np.int64)
    sends: np.ndarray = LavaPyType(np.ndarray, np.int64)
    kept: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def begin(self) -> None:
        """Nothing is reset in what has no state."""

    def run_spk(self) -> None:
        """Take, work, send."""
        arrived = self.a_in.recv()
        self.begin()
        slot = _slot(self)
        chosen = self.takes == slot
        if chosen.any():
            self.kept[chosen] = self.work(arrived, chosen)[chosen]
        sent = np.where(self.sends == slot, self.kept, 0).astype(np.int32)
        self.s_out.send(sent * _has_begun(self))


@implements(proc=SlottedSum, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySlottedSum(_PySlotted, _PySum):
    """No state but what it keeps."""


@implements(proc=SlottedRelay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySlottedRelay(_PySlotted, _PyRelay):
    """No state but what it keeps."""


class _PySlottedCounter(_PySlotted, _PyCounter):
    def begin(self) -> None:
        """Reset, where it is time."""
        _PyCounter.begin(self)


@implements(proc=SlottedCounter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySlottedCounter(_PySlottedCounter):
    """Set to 0 by a spike."""


@implements(proc=SlottedSubtractingCounter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySlottedSubtractingCounter(_PySlottedCounter, _PySubtractingCounter):
    """Lowered by every spike."""


class Gate(AbstractProcess):
    """Sends what arrives at port 1 times what arrived at port 2 in the first slot of the network step."""

    def __init__(self, *, shape: tuple[int, ...], **settings: int) -> None:
        super().__init__(shape=shape, **settings)
        self.a_in1 = InPort(shape=shape)
        self.a_in2 = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.kept = Var(shape=shape, init=0)


class Memory(Gate):
    """Adds up the products of what arrives at its ports, and sends the sum in the slot ``late``."""


class _PyTwoPorts(PyLoihiProcessModel):
    a_in1 = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_in2 = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    kept: np.ndarray = LavaPyType(np.ndarray, np.int32)


@implements(proc=Gate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyGate(_PyTwoPorts):
    """Keeps one operand."""

    def run_spk(self) -> None:
        """Keep, multiply, send."""
        passing, offered = self.a_in1.recv(), self.a_in2.recv()
        if _slot(self) == 0:
            self.kept[:] = offered
        self.s_out.send(passing * self.kept)


@implements(proc=Memory, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyMemory(_PyTwoPorts):
    """Keeps a sum."""

    def run_spk(self) -> None:
        """Forget the last network step, multiply, add, send."""
        product = self.a_in1.recv() * self.a_in2.recv()
        slot = _slot(self)
        self.kept[:] = product + self.kept * int(slot > 0)
        self.s_out.send(self.kept * int(slot == self.proc_params["late"]))


class LargestSynapses(AbstractProcess):
    """Synapses whose target takes the largest message instead of the sum; all weights are alike.

    ``starts`` and ``sources`` say which neurons each target reads. As with Lava's own synapses, what
    arrives in a step is what was sent in the step before.
    """

    def __init__(self, *, starts: Settings, sources: Settings, weight: int, inputs: int, delay: int) -> None:
        super().__init__(weight=weight, delay=delay)
        targets = len(starts) - 1
        self.s_in = InPort(shape=(inputs,))
        self.a_out = OutPort(shape=(targets,))
        self.starts = Var(shape=starts.shape, init=starts)
        self.sources = Var(shape=sources.shape, init=sources)
        self.buffer = Var(shape=(delay + 1, targets), init=0)


@implements(proc=LargestSynapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyLargestSynapses(PyLoihiProcessModel):
    """A buffer for what is on its way."""

    s_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    starts: np.ndarray = LavaPyType(np.ndarray, np.int64)
    sources: np.ndarray = LavaPyType(np.ndarray, np.int64)
    buffer: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Send what is due, and take what comes."""
        self.a_out.send(self.buffer[0])
        messages = self.s_in.recv()[self.sources] * self.proc_params["weight"]
        arrived = np.zeros(len(self.starts) - 1, np.int32)
        connected = np.flatnonzero(np.diff(self.starts))
        arrived[connected] = np.maximum.reduceat(messages, self.starts[connected])
        self.buffer = np.concatenate([self.buffer[1:], arrived[None]]).astype(np.int32)


def _leak(state: Settings, decay: int) -> Settings:
    """Toward zero, as on the chip."""
    kept = np.abs(state) * (4096 - decay) >> 12
    return np.sign(state) * kept


def _has_begun(model: Settings) -> bool:
    """Whether its own first step has come."""
    return bool(model.time_step > model.proc_params["first"])


def _slot(model: Settings) -> int:
    """The chip step within the network step; Lava counts its steps from 1."""
    settings = model.proc_params
    return int((model.time_step - 1 - settings["depth"]) % settings["steps"])
