"""``spikeloom compile FILE.net``: a netx file to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.cli.calibration import RANDOM, SEED
from spikeloom.compiler.frontends.netx.file import read_netx
from spikeloom.compiler.frontends.netx.lower import lower_netx
from spikeloom.compiler.pipeline import Compilation, Observer, Options, Progress, compile_integer
from spikeloom.errors import InputError, counted
from spikeloom.runtime.events.array_recipe import ArrayRecipe
from spikeloom.runtime.events.samples.arrays import read_arrays

NETX = ".net"
ON = 0.1
"""Share of the inputs that fire in random samples."""


def compile_netx(
    path: Path,
    calibrate: str,
    options: Options,
    output: Path | None,
    progress: Progress,
    after_stage: Observer,
) -> Compilation:
    """Compile a netx file; without ``--calibrate`` for two random samples.

    Raises:
        InputError: SL0214, the file is bad; SL0901 and SL0121, the samples are.
        UnsupportedError: the target cannot execute the network.
    """
    net = lower_netx(read_netx(path), options.steps)
    kind = net.graph.types[net.graph.inputs[0]]
    recipe = ArrayRecipe(
        shape=kind.shape, steps=net.steps, scale=net.scale, zero=net.zero, max_value=kind.kind.bounds[1]
    )
    frames = _frames(calibrate or f"{RANDOM}2", recipe)
    provenance = {"model": path.name, "checkpoint": path.name}
    return compile_integer(net.graph, recipe, frames, options, output, provenance, progress, after_stage)


def _frames(calibrate: str, recipe: ArrayRecipe) -> NDArray[np.uint8]:
    """Samples [steps, samples, ...]: of a file, or random spikes, or random values from -1 to 1."""
    if calibrate.startswith(RANDOM):
        number = calibrate.removeprefix(RANDOM)
        if not number.isdecimal() or int(number) < 1:
            raise InputError.of("SL0901", "--calibrate", f"{calibrate!r} says no number", wanted="random:N")
        return _random(int(number), recipe)
    if Path(calibrate).suffix not in (".npz", ".npy"):
        raise InputError.of(
            "SL0901", "--calibrate", f"{calibrate} is none", wanted="an .npz or .npy, or random:N"
        )
    x: NDArray[Any] = recipe.encode(read_arrays(Path(calibrate))[0], calibrate)
    if x.shape[1:] == recipe.shape:
        return np.ascontiguousarray(np.broadcast_to(x, (recipe.steps, *x.shape)))
    if x.shape[1:] == recipe.sequence_shape:
        return x.swapaxes(0, 1)
    wanted = f"[N, {', '.join(map(str, recipe.shape))}], or with {counted(recipe.steps, 'step')} after N"
    raise InputError.of(
        "SL0111", "--calibrate", "inputs do not fit the network", wanted=wanted, got=[*x.shape]
    )


def _random(number: int, recipe: ArrayRecipe) -> NDArray[np.uint8]:
    generator = np.random.default_rng(SEED)
    if recipe.max_value == 1:
        return (generator.random((recipe.steps, number, *recipe.shape)) < ON).astype(np.uint8)
    x = recipe.encode(generator.uniform(-1, 1, (number, *recipe.shape)))
    return np.ascontiguousarray(np.broadcast_to(x, (recipe.steps, *x.shape)))
