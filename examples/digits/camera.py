"""A simulated event camera that looks at handwritten digits while its gaze makes saccades.

Every pixel follows the standard model of a dynamic vision sensor (P. Lichtsteiner, C. Posch,
T. Delbruck: A 128x128 120 dB 15 us latency asynchronous temporal contrast vision sensor, IEEE
JSSC 43(2), 2008). A pixel remembers the logarithm of the intensity at its last event; when the
log intensity has moved by the contrast threshold it sends an event, ON (p = 1) for brighter, OFF
(p = 0) for darker, and remembers the new level::

    L(t) = ln I(t),     event at the first t with  L(t) - L_ref >= +C_on   or   L(t) - L_ref <= -C_off

As in the simulators ESIM (H. Rebecq et al., CoRL 2018) and v2e (Y. Hu et al., CVPRW 2021), L is
sampled on a fixed grid and taken as linear in between, so that events get times finer than the grid;
the thresholds differ from pixel to pixel (fixed-pattern noise, normally distributed), and each pixel
also fires at random (background activity, a Poisson process). After an event a pixel is blind for
its refractory period, and starts anew from the intensity that it sees then.

The gaze moves as in N-MNIST (G. Orchard et al., Frontiers in Neuroscience 9:437, 2015): three
saccades of 100 ms along a triangle. Units: microseconds, pixels, natural-log intensity, hertz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import EVENT, Events

SACCADE_US = 100_000
CORNERS = np.array([(-1.0, -1.0), (0.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])  # (x, y), of the amplitude
DURATION_US = SACCADE_US * (len(CORNERS) - 1)
BATCH = 64  # recordings simulated at once: their state fits the processor's cache


@dataclass(frozen=True)
class Camera:
    """The sensor, its optics and its gaze; the same seed always gives the same events.

    Attributes:
        size: pixels along each side of the square sensor.
        pixels_per_sample: size on the sensor of one of the digit's 8 x 8 samples.
        amplitude: largest shift of the gaze from the centre, in pixels.
        dark, bright: intensity of an empty and of a full sample, in arbitrary linear units.
        threshold: mean contrast threshold, in natural-log intensity.
        mismatch: standard deviation of the threshold over the pixels, in the same unit.
        refractory_us: time for which a pixel is blind after an event.
        background_hz: rate of the background activity of a pixel; half of it is ON.
        step_us: grid on which the log intensity is sampled.
        seed: fixes thresholds and background activity.
    """

    size: int = 16
    pixels_per_sample: float = 1.6
    amplitude: float = 1.0
    dark: float = 0.2
    bright: float = 1.0
    threshold: float = 0.3
    mismatch: float = 0.03
    refractory_us: int = 500
    background_hz: float = 1.0
    step_us: int = 1000
    seed: int = 0

    def record(self, digits: NDArray[np.float64], numbers: Sequence[int]) -> list[Events]:
        """One recording of 300 ms for each digit.

        Args:
            digits: [N, 8, 8], 0 (empty) to 16 (full), as scikit-learn gives them.
            numbers: N numbers that tell the recordings apart; the background activity of a recording
                depends on the seed and its number alone, not on its company.

        Returns:
            For each digit its events, ordered in time: t in microseconds, x, y in pixels, p 1 for ON.

        >>> square = np.zeros((1, 8, 8)); square[:, 2:6, 2:6] = 16
        >>> (events,) = Camera().record(square, [7])
        >>> events.dtype.names, bool(np.all(np.diff(events["t"]) >= 0)), int(events["t"][-1]) < DURATION_US
        (('t', 'x', 'y', 'p'), True, True)
        """
        recordings = []
        for first in range(0, len(digits), BATCH):
            owners, events = self._contrast_events(digits[first : first + BATCH])
            for position, number in enumerate(numbers[first : first + BATCH]):
                seen = np.concatenate([events[owners == position], self._background(number)])
                recordings.append(np.sort(seen, order=["t", "y", "x", "p"]))
        return recordings

    def _contrast_events(self, digits: NDArray[np.float64]) -> tuple[NDArray[np.intp], Events]:
        """The events of all pixels of all recordings, and the recording that each belongs to."""
        levels = self._log_intensity(digits)
        pixels = _Pixels(next(levels), *self._thresholds(len(digits)), self.refractory_us)
        found = [
            crossing
            for step, level in enumerate(levels)
            for crossing in pixels.advance(level, step * self.step_us, self.step_us)
        ]
        index = np.concatenate([where for where, _, _ in found])
        owner, place = np.divmod(index, self.size**2)
        events = np.empty(len(index), EVENT)
        events["t"] = np.concatenate([time for _, time, _ in found])
        events["p"] = np.concatenate([on for _, _, on in found])
        events["y"], events["x"] = np.divmod(place, self.size)
        return owner, events

    def _log_intensity(self, digits: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """The log intensity of all pixels, [N * size * size], at each point of the time grid.

        Rounded to 2^-20, so that the last bit of another processor's logarithm moves no event.
        """
        coverage = np.asarray(digits, np.float64) / 16
        for time in range(0, DURATION_US + 1, self.step_us):
            shift_x, shift_y = self.amplitude * gaze(time)
            rows, columns = self._optics(shift_y), self._optics(shift_x)
            scene = np.clip(rows @ coverage @ columns.T, 0, 1)
            light = self.dark + (self.bright - self.dark) * scene
            yield np.rint(np.log(light).ravel() * 2**20) / 2**20

    def _optics(self, shift: float) -> NDArray[np.float64]:
        """Share of each of 8 samples in each pixel of one axis, [size, 8].

        Cubic convolution (R. G. Keys, IEEE Trans. Acoustics, Speech, and Signal Processing 29(6), 1981):
        smooth, and exact at the samples; it may overshoot.
        """
        pixel = (np.arange(self.size) - (self.size - 1) / 2 + shift) / self.pixels_per_sample
        d = np.abs(pixel[:, None] - (np.arange(8) - 3.5))
        near = 1.5 * d**3 - 2.5 * d**2 + 1
        far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        weights: NDArray[np.float64] = np.where(d < 1, near, np.where(d < 2, far, 0))
        return weights

    def _thresholds(self, copies: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """ON and OFF threshold of each pixel, at least a hundredth, repeated for every recording."""
        noise = np.random.default_rng(self.seed).normal(0, self.mismatch, (2, self.size**2))
        on, off = np.maximum(self.threshold + noise, 0.01)
        return np.tile(on, copies), np.tile(off, copies)

    def _background(self, number: int) -> Events:
        generator = np.random.default_rng([self.seed, number])
        count = generator.poisson(self.background_hz * self.size**2 * DURATION_US / 1e6)
        events = np.empty(count, EVENT)
        events["t"] = generator.integers(0, DURATION_US, count)
        events["x"] = generator.integers(0, self.size, count)
        events["y"] = generator.integers(0, self.size, count)
        events["p"] = generator.integers(0, 2, count)
        return events


def gaze(time_us: float) -> NDArray[np.float64]:
    """Where the camera looks, (x, y) in units of its amplitude: smooth starts and stops at the corners.

    Within a saccade the path is the minimum-jerk polynomial 10 s^3 - 15 s^4 + 6 s^5 (T. Flash and
    N. Hogan, J. Neuroscience 5(7), 1985).

    >>> gaze(0).tolist(), gaze(50_000).tolist(), gaze(100_000).tolist()
    ([-1.0, -1.0], [-0.5, 0.0], [0.0, 1.0])
    """
    leg = min(int(time_us // SACCADE_US), len(CORNERS) - 2)
    s = time_us / SACCADE_US - leg
    start, end = CORNERS[leg : leg + 2]
    place: NDArray[np.float64] = start + (end - start) * (10 * s**3 - 15 * s**4 + 6 * s**5)
    return place


SEEING = -np.inf
Crossings = tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.bool_]]  # pixel, time in us, is it ON


class _Pixels:
    """The state of many independent pixels: reference level and end of blindness."""

    def __init__(
        self,
        level: NDArray[np.float64],
        on: NDArray[np.float64],
        off: NDArray[np.float64],
        refractory_us: int,
    ) -> None:
        self.level, self.on, self.off, self.refractory_us = level, on, off, refractory_us
        self.reference = level.copy()
        self.release = np.full(level.shape, SEEING)  # when a blind pixel sees again

    def advance(self, level: NDArray[np.float64], start: int, span: int) -> Iterator[Crossings]:
        """The events while the log intensity goes linearly to ``level`` between start and start + span."""
        before, slope = self.level, (level - self.level) / span
        self.level = level
        self._wake(np.flatnonzero(self.release <= start + span), before, slope, start)
        watched = np.flatnonzero(self.release == SEEING)
        while len(watched):
            change = level[watched] - self.reference[watched]
            rising, falling = change >= self.on[watched], change <= -self.off[watched]
            fires = rising | falling
            pixel, rising = watched[fires], rising[fires]
            target = self.reference[pixel] + np.where(rising, self.on[pixel], -self.off[pixel])
            time = start + (target - before[pixel]) / slope[pixel]
            yield pixel, np.floor(time).astype(np.int64), rising
            self.release[pixel] = time + self.refractory_us
            watched = self._wake(pixel[self.release[pixel] <= start + span], before, slope, start)

    def _wake(
        self, pixel: NDArray[np.intp], before: NDArray[np.float64], slope: NDArray[np.float64], start: int
    ) -> NDArray[np.intp]:
        """Let pixels whose refractory period ends take the intensity of that moment as reference."""
        blind: NDArray[np.intp] = pixel[self.release[pixel] != SEEING]
        self.reference[blind] = before[blind] + slope[blind] * (self.release[blind] - start)
        self.release[blind] = SEEING
        return blind
