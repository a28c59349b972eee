"""The whole chain on handwritten digits: recordings, compiler, chip, engines, estimate, report.

    python -m examples.digits.demo

Runs the commands that a user would type, and shows them. Everything is written below out/.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.score import wilson_interval

HERE = Path(__file__).parent.relative_to(Path(__file__).parents[2])
OUT = Path("out")
DIGITS = OUT / "digits"
BUNDLE = OUT / "digits.loom"
TEST = ["--events", f"{DIGITS}/test", "--labels", f"{DIGITS}/test.tsv"]

console = Console(highlight=False)


def main(arguments: list[str]) -> int:
    """Run every step (or the first two); the exit status is that of the first that fails, or 0."""
    start = time.monotonic()
    (Path.cwd() / OUT).mkdir(exist_ok=True)
    steps = [
        ("Digits seen by an event camera", ["-m", "examples.digits.make_recordings", str(DIGITS)]),
        (
            "Compile the trained Spikformer: integers on the grid of Loihi 2, placed on its cores",
            ["-m", "spikeloom", "compile", f"{HERE}/model.py:build", "--weights", f"{HERE}/digits.pt",
             "--recipe", f"{HERE}/recipe.toml", "--calibrate", f"{DIGITS}/train", "--target", "loihi2",
             "--bits", "8", "--ledger", "8", "-o", str(BUNDLE)],
        ),
        (
            "Run the held-out recordings through it and count every spike",
            ["-m", "spikeloom", "run", str(BUNDLE), *TEST,
             "--log", f"{OUT}/counts.parquet", "--outputs", f"{OUT}/predictions.parquet"],
        ),
        (
            "Verify: every spike of every layer, NumPy reference against ONNX Runtime",
            ["-m", "spikeloom", "verify", str(BUNDLE), *TEST[:2], "--engines", "reference,onnx"],
        ),
        ("Estimate operations, latency and energy", ["-m", "spikeloom", "estimate", str(BUNDLE), *TEST[:2]]),
        ("Write the report", ["-m", "spikeloom", "report", str(BUNDLE), *TEST, "-o", f"{OUT}/report.html"]),
    ]  # fmt: skip
    if "--compile-only" in arguments:
        steps = steps[:2]
    for number, (title, command) in enumerate(steps, 1):
        if status := _run(f"{number}/{len(steps)}  {title}", command):
            return status
    if "--compile-only" in arguments:
        return 0
    _compare_with_pytorch()
    console.print(
        f"\n[bold]Done[/] in {time.monotonic() - start:.0f} s. Open {OUT}/report.html in a browser; "
        f"the compiled network is {BUNDLE}."
    )
    return 0


def _run(title: str, command: list[str]) -> int:
    shown = ["spikeloom", *command[2:]] if command[1] == "spikeloom" else ["python", *command]
    console.rule(f"[bold]{title}", align="left")
    console.print(f"[dim]$ {shlex.join(shown)}[/]\n", soft_wrap=True)
    return subprocess.run([sys.executable, *command], check=False).returncode


def _compare_with_pytorch() -> None:
    """Float against integer, recording by recording."""
    from examples.digits.model import build
    from examples.training import answers, load_checkpoint, load_recordings
    from spikeloom.compiler.frontends.torch.quiet import quiet_torch

    recipe = FrameRecipe.from_toml(HERE / "recipe.toml")
    samples = recordings(DIGITS / "test", recipe, DIGITS / "test.tsv")
    data = load_recordings(DIGITS, "test", recipe)
    with quiet_torch():
        floats = answers(load_checkpoint(HERE / "digits.pt", build), data.frames).tolist()
    last = {
        row["sample"]: row["prediction"] for row in pq.read_table(OUT / "predictions.parquet").to_pylist()
    }
    integers = [last[name] for name in samples.names]
    labels = data.labels.tolist()
    console.rule("[bold]Float against integer", align="left")
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for column in ("", "right", "accuracy", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    for name, predictions in (("PyTorch, float32", floats), ("compiled, 8-bit integers", integers)):
        right = sum(p == label for p, label in zip(predictions, labels, strict=True))
        low, high = wilson_interval(right, len(labels))
        table.add_row(
            name, f"{right} of {len(labels)}", f"{right / len(labels):.1%}", f"{low:.1%} to {high:.1%}"
        )
    console.print(table)
    same = sum(a == b for a, b in zip(floats, integers, strict=True))
    console.print(f"\nthe same prediction on {same} of {len(labels)} held-out recordings")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
