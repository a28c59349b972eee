"""``spikeloom capture-script``: the one file that records a network in another environment."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.atomic import write_text
from spikeloom.cli.console import output as console

NAME = "spikeloom_capture.py"


def capture_script(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.")] = Path(NAME),
) -> None:
    """Write the script that records a network where it was trained: one file that needs PyTorch alone.

    Take it to that environment, run it there, and compile the .capture file that it writes.
    """
    folder = resources.files("spikeloom.compiler.frontends.torch.recorded")
    write_text(output, (folder / NAME).read_text("utf-8"))
    console.print(
        f"wrote {output}: run it with the Python that trains the model", markup=False, soft_wrap=True
    )
