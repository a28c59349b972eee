"""``spikeloom weights``: checkpoints made safe to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.atomic import write_bytes
from spikeloom.cli.console import counted, print_json, printable
from spikeloom.cli.console import output as console
from spikeloom.cli.model import require_torch
from spikeloom.cli.sources import Json
from spikeloom.errors import InputError

weights = typer.Typer(help="Make checkpoints safe to read.", no_args_is_help=True)


@weights.callback()
def _group() -> None:
    """A group of commands, though it has one."""


@weights.command("strip")
def strip(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that holds more than tensors.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code in the checkpoint: only for files you trust.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the tensors of a checkpoint, and nothing else, to a .safetensors file."""
    require_torch("reading a checkpoint")
    from safetensors.torch import save

    from spikeloom.compiler.frontends.torch.checkpoint import read_trusted

    if not trust:
        raise InputError.of(
            "SL0901",
            "--trust",
            "reading such a checkpoint runs whatever code is in it",
            remedy="add --trust if you trust where the file comes from",
        )
    if output.suffix != ".safetensors":
        raise InputError.of("SL0901", output, "is no name of a .safetensors file")
    tensors = {name: value.contiguous().clone() for name, value in read_trusted(checkpoint).items()}
    write_bytes(output, save(tensors))
    if json:
        print_json({"output": str(output), "tensors": len(tensors)})
    else:
        console.print(printable(f"wrote {output}: {counted(len(tensors), 'tensor')}"), markup=False)
