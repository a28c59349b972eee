"""``spikeloom export``: a compiled network as what other tools read or run; one format a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.console import output as console
from spikeloom.cli.console import print_json, printable
from spikeloom.cli.export.lava import write_lava
from spikeloom.cli.export.netx import write_as_netx
from spikeloom.cli.export.nir import MODES, write_as_nir
from spikeloom.cli.options import BundleFile
from spikeloom.cli.sources import Json
from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError

FORMATS = ("nir", "lava", "netx")


def export(
    bundle: BundleFile,
    to: Annotated[str, typer.Option("--to", help=f"The format: {', '.join(FORMATS)}.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The file to write; a new folder for lava and for --mode partition."
        ),
    ],
    mode: Annotated[
        str,
        typer.Option(
            help="nir: what happens to operations that it lacks. strict: refuse, and list them; "
            "partition: several files, and the glue between them; custom: nodes of types of our own."
        ),
    ] = "strict",
    json: Json = False,
) -> None:
    """Write the integer graph of a compiled network for another tool.

    ``nir``: the Neuromorphic Intermediate Representation. ``lava``: a folder that `python3.10 FOLDER/run.py`
    runs with lava-nc 0.10.0 alone, on the inputs recorded in the bundle, and compares with what the integer
    graph does. ``netx``: a file of lava-dl, for chains of weights and LIF neurons.
    """
    _check("--to", to, FORMATS)
    _check("--mode", mode, MODES)
    compiled = read_bundle(bundle)
    if to == "nir":
        document, told = write_as_nir(compiled, output, mode)
    else:
        document, told = (write_lava if to == "lava" else write_as_netx)(compiled, output)
    if json:
        print_json(document)
        return
    for line in told:
        console.print(printable(line), markup=False, soft_wrap=True)


def _check(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputError.of("SL0901", option, "there is no such choice", wanted=" or ".join(known), got=given)
