"""What an early exit rule is, and the file that holds one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeloom.atomic import write_text
from spikeloom.errors import InputError


class ExitRule(Protocol):
    """Decides after each time step for which samples inference stops; the last step always ends it.

    Attributes:
        kind: the name of the rule.
    """

    @property
    def kind(self) -> str:
        """The name of the rule."""
        ...

    def stops(self, evidence: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Whether each sample is answered after so many steps, from its evidence [samples, classes]."""
        ...

    def candidates(self, evidence: NDArray[np.float64], step: int) -> NDArray[np.bool_] | None:
        """The classes [samples, classes] that the rule cannot rule out; None if it says nothing of them."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The rule as a JSON object, with its kind."""
        ...


def probabilities(evidence: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """softmax(scale · evidence) over the last axis.

    >>> probabilities(np.array([0.0, 0.0]), 3.0).tolist()
    [0.5, 0.5]
    """
    scaled = scale * evidence
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return shares


def exit_steps(rule: ExitRule, evidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """After how many steps each sample is answered, from the evidence [samples, steps, classes] of all.

    The evidence after a step does not depend on later ones, so that this is what running with the rule
    gives.
    """
    samples, steps, _ = evidence.shape
    result = np.full(samples, steps, np.int64)
    for step in range(steps - 1, 0, -1):
        result[rule.stops(evidence[:, step - 1], step)] = step
    return result


def write_rule(rule: ExitRule, network: str, calibration: Mapping[str, Any], path: Path | str) -> None:
    """Write a rule as JSON, with the network that it was calibrated for and how.

    Raises:
        InputError: SL0902, the path cannot be written.
    """
    document = {"exit": rule.to_json(), "network": network, "calibration": dict(calibration)}
    write_text(Path(path), json.dumps(document, indent=1, sort_keys=True) + "\n")


def read_rule_document(path: Path | str, network: str) -> dict[str, Any]:
    """The rule of a file as a JSON object.

    Raises:
        InputError: SL0812, the file is missing or holds no rule, or one for another network.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        rule = dict(document["exit"])
        found = document["network"]
    except OSError as error:
        raise InputError.of("SL0812", path, f"cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.of(
            "SL0812", path, "holds no exit rule", remedy="write one: spikeloom exit"
        ) from error
    if found != network:
        what = "was calibrated for another network or recipe"
        raise InputError.of("SL0812", path, what, remedy="calibrate anew: spikeloom exit")
    return rule
