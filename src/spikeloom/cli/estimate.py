"""``spikeloom estimate``: operations, latency and energy per inference."""

from __future__ import annotations

from typing import Any

from spikeloom.cli.console import counted, figures, print_json, progress, si, table
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, ExitRuleFile, spread
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import read_bundle
from spikeloom.runtime.early_exit.calibrate import read_rule
from spikeloom.runtime.estimate.document import estimate_bundle
from spikeloom.runtime.session_state import network_digest

MESSAGES = {
    "binary": "binary: spikes",
    "graded": "graded: numbers that are not 0",
    "dense": "dense: a number in every step",
}


@spread
def estimate(
    bundle: BundleFile,
    samples: SampleOptions,
    exit_: ExitRuleFile = None,
    json: Json = False,
) -> None:
    """Count operations on samples, and estimate latency and energy on the chip as bands."""
    compiled = read_bundle(bundle)
    rule = read_rule(exit_, network_digest(compiled)) if exit_ else None
    opened = samples.open(compiled)
    with progress(len(opened), "counting") as bar:
        document = estimate_bundle(compiled, opened, lambda: bar.advance(bar.task_ids[0]), rule)
    if rule is not None:
        document["exit"] = rule.to_json()
    if json:
        print_json(document)
    else:
        show_estimate(document)


def show_estimate(document: dict[str, Any]) -> None:
    """Print an estimate: operations, both modes with their parts, and the source of each constant."""
    _print_operations(document["operations"])
    if "neurobench" in document:
        _print_neurobench(document["neurobench"])
    if "exit" in document:
        console.print(f"answered after {document['steps']:.2f} time steps on average")
    if "chip" in document:
        _print_messages(document["chip"]["messages"])
    for name, mode in document["modes"].items():
        _print_mode(name, mode)
    if document["modes"]:
        label = "validated on silicon" if document["validated"] else "[yellow]extrapolated[/], not validated"
        console.print(f"\n{label}: {document['validation']}")
        console.print(figures("\nConstants", document["constants"]))
    else:
        console.print(f"\nno latency or energy: {document['validation']}")


def _print_operations(operations: dict[str, Any]) -> None:
    shown = table(
        f"Operations per inference, mean of {counted(operations['samples'], 'sample')}",
        "what",
        "effective",
        "dense",
    )
    shown.add_row("accumulates (ACs)", f"{operations['acs']:,.1f}", "")
    shown.add_row("multiply-accumulates (MACs)", f"{operations['macs']:,.1f}", "")
    both = operations["acs"] + operations["macs"]
    shown.add_row("synaptic, both", f"{both:,.1f}", f"{operations['dense']:,.0f}")
    shown.add_row(
        "attention products", f"{operations['products']:,.1f}", f"{operations['dense_products']:,.0f}"
    )
    shown.add_row("host (norms, gates, quotients)", f"{operations['host']:,.1f}", "")
    shown.add_row("neuron updates", f"{operations['updates']:,.0f}", f"{operations['updates']:,.0f}")
    console.print(shown)
    share = f"{operations['not_spike_driven']:.1%}"
    console.print(f"not spike-driven (host, and weights or products of real values): {share}", markup=False)


def _print_neurobench(found: dict[str, Any]) -> None:
    console.print(
        f"footprint {counted(found['Footprint'], 'byte')}, {counted(found['ParameterCount'], 'parameter')}, "
        f"connection sparsity {found['ConnectionSparsity']:g}, "
        f"activation sparsity {found['ActivationSparsity']:.4f}, "
        f"{found['MembraneUpdates']:,.1f} membrane updates"
    )


def _print_messages(messages: dict[str, float]) -> None:
    """What is sent, with nothing left out: numbers of every neuron in every step are no spikes."""
    shown = table("\nMessages per chip step", "what", "messages", "share")
    for kind, what in MESSAGES.items():
        shown.add_row(what, f"{messages[kind]:,.1f}", f"{messages[f'{kind}_share']:.1%}")
    shown.add_row("of all neurons, in a step", "", f"{messages['rate']:.1%}", style="bold")
    console.print(shown)


def _print_mode(name: str, mode: dict[str, Any]) -> None:
    shown = table(f"\n{name.replace('_', ' ').capitalize()}, per inference", "part", "low", "nominal", "high")
    for quantity, unit in (("latency_s", "s"), ("energy_j", "J")):
        band = mode[quantity]
        for part, value in band["parts"].items():
            shown.add_row(
                f"  {part.replace('_', ' ')}", *(si(value[k], unit) for k in ("low", "nominal", "high"))
            )
        title = quantity.split("_")[0]
        total = (si(band[k], unit) for k in ("low", "nominal", "high"))
        shown.add_row(title, *total, style="bold")
    console.print(shown)
