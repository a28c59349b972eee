"""The compiler: a trained network in, a bundle out, stage by stage (one file each)."""

from spikeloom.compiler.pipeline.compilation import Compilation, Inputs
from spikeloom.compiler.pipeline.compile import (
    Observer,
    Progress,
    compile_graph,
    compile_integer,
    compile_model,
)
from spikeloom.compiler.pipeline.options import STAGES, Options

__all__ = [
    "STAGES",
    "Compilation",
    "Inputs",
    "Observer",
    "Options",
    "Progress",
    "compile_graph",
    "compile_integer",
    "compile_model",
]
