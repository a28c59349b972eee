"""Every error that Spikeloom raises on purpose.

    SpikeloomError
    ├── InputError          exit 4   a file, a recording, a checkpoint or an option is bad
    ├── UnsupportedError    exit 2   the model cannot be compiled, or does not fit the target
    ├── MismatchError       exit 3   two executions that must agree do not
    └── InternalError       exit 1   Spikeloom broke its own rules: please report it

An error carries one :class:`Problem` or more: a stage collects all it finds before it raises.
A problem says what is wrong, where, what was wanted, what was got, and what to do next, under a
stable code (:data:`CODES`). Nothing here imports the rest of the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

CODES: dict[str, str] = {
    # events and frame recipes
    "SL0101": "an event file is missing or cannot be read",
    "SL0102": "an event file is empty",
    "SL0103": "an event file is truncated",
    "SL0104": "an event lies outside the sensor",
    "SL0105": "event times run backwards",
    "SL0106": "the format of an event file is not known",
    "SL0107": "events do not fit the format of the file to be written",
    "SL0108": "the header or the structure of an event file is malformed",
    "SL0109": "event times jump",
    "SL0110": "a frame recipe is malformed",
    "SL0111": "frames and network disagree on the geometry",
    "SL0120": "a labels file is malformed, or names recordings that are not there",
    "SL0121": "an array or dataset input is malformed",
    # checkpoints and model factories
    "SL0201": "a model factory cannot be loaded",
    "SL0202": "a checkpoint is missing or cannot be read",
    "SL0203": "a checkpoint does not belong to the model",
    "SL0204": "a checkpoint holds values that are not finite",
    "SL0205": "a model needs a package that is not installed",
    "SL0206": "a description of a model's inputs is malformed",
    "SL0211": "a NIR file is missing, damaged, or leads outside of itself",
    "SL0212": "NIR has no node for an operation of a network",
    "SL0213": "an ONNX file is missing, damaged, or leads outside of itself",
    "SL0214": "a netx file is missing or damaged, or holds what has no integer meaning",
    "SL0215": "a capture of another environment is missing or damaged",
    # capture
    "SL0301": "the model cannot be exported",
    "SL0302": "an operation of the model has no counterpart in the graph",
    "SL0303": "an operation mixes time or batch with other axes",
    "SL0304": "a spiking neuron is not recognised",
    "SL0305": "a spiking neuron disagrees with its equation",
    "SL0306": "the captured graph disagrees with eager PyTorch",
    "SL0307": "the input shape of the model is not declared",
    "SL0308": "the equations of a declared neuron cannot be read",
    # graph
    "SL0401": "a graph breaks a rule of its operations",
    "SL0402": "a pass was run on a graph that does not meet its precondition",
    # quantization
    "SL0501": "an operation has no integer form",
    "SL0502": "two values must share a scale and do not",
    "SL0503": "an accumulator or a membrane potential could overflow",
    "SL0504": "a parameter does not fit the numeric profile of the target",
    "SL0505": "calibration data is missing or silent",
    "SL0506": "integer spikes lie outside the declared rounding bound of trained PyTorch",
    # targets and mapping
    "SL0601": "the target is not known",
    "SL0602": "the target cannot execute an operation",
    "SL0603": "the network does not fit a limit of the chip",
    "SL0604": "a target description is malformed",
    # bundles
    "SL0701": "a bundle is missing or is not a bundle",
    "SL0702": "a bundle was changed after it was written",
    "SL0703": "a bundle was written by another version of the format",
    # running
    "SL0801": "an engine is not known or cannot run here",
    "SL0802": "engines disagree on a spike",
    "SL0803": "the data does not match the compiled network",
    "SL0804": "a benchmark network does not fire as it should",
    "SL0811": "a saved state or a log is damaged, or belongs to another run",
    "SL0812": "an early exit rule is malformed, cannot be calibrated, or is for another network",
    "SL0813": "a cluster cannot be reached, or loses its tasks",
    # command line
    "SL0901": "an option is malformed",
    "SL0902": "an output path cannot be written",
    "SL0903": "Spikeloom itself failed: a bug to report",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: stable code, a key of :data:`CODES`.
        where: the file, node, layer, core or option concerned.
        what: the fault, in one clause.
        wanted, got: what would have been right and what was found; empty if that says nothing.
        remedy: what to do next.

    >>> print(Problem("SL0503", "blocks.3.attn.q", "weight needs 11 bits", "8 bits", "", "try --bits 8"))
    SL0503 blocks.3.attn.q: weight needs 11 bits (wanted 8 bits); try --bits 8
    """

    code: str
    where: str
    what: str
    wanted: str = ""
    got: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(f"{self.code} is not declared in spikeloom.errors.CODES")

    def __str__(self) -> str:
        detail = ", ".join(
            f"{word} {text}" for word, text in (("wanted", self.wanted), ("got", self.got)) if text
        )
        text = f"{self.code} {self.where}: {self.what}"
        text += f" ({detail})" if detail else ""
        return text + (f"; {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, str]:
        """The problem as a JSON object with the attributes as keys."""
        return asdict(self)


class SpikeloomError(Exception):
    """Base of all errors; ``problems`` holds one or more :class:`Problem`."""

    exit_status: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not self.problems:
            raise ValueError("an error needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(
        cls, code: str, where: object, what: str, *, wanted: object = "", got: object = "", remedy: str = ""
    ) -> Self:
        """The error of a single problem; ``where``, ``wanted`` and ``got`` are shown by ``str``.

        >>> raise InputError.of("SL0102", "a.bs2", "the file holds no events", remedy="record again")
        Traceback (most recent call last):
        spikeloom.errors.InputError: SL0102 a.bs2: the file holds no events; record again
        """
        return cls(Problem(code, str(where), what, str(wanted), str(got), remedy))


class InputError(SpikeloomError):
    """A file, a recording, a checkpoint or an option given by the user is bad."""

    exit_status = 4


class UnsupportedError(SpikeloomError):
    """The model cannot be compiled, or does not fit the target."""

    exit_status = 2


class MismatchError(SpikeloomError):
    """Two executions that must agree do not."""

    exit_status = 3


class InternalError(SpikeloomError):
    """Spikeloom broke its own rules; the message is for its developers."""

    exit_status = 1


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things: the noun where there is one, else its plural.

    >>> counted(1, "sample"), counted(1060, "sample"), counted(2, "axis", "axes")
    ('1 sample', '1,060 samples', '2 axes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
