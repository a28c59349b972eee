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
from typing import ClassVar, NamedTuple, Self


class Code(NamedTuple):
    """What an error code stands for.

    Attributes:
        meaning: in one clause.
        remedy: what to do next, where a problem does not say it more exactly.
    """

    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    # events and frame recipes
    "SL0101": Code("an event file is missing or cannot be read", "check the path and its permissions"),
    "SL0102": Code("an event file is empty", "leave it out, or record again"),
    "SL0103": Code("an event file is truncated", "copy the file again"),
    "SL0104": Code("an event lies outside the sensor", "name the right sensor in the recipe"),
    "SL0105": Code("event times run backwards", "sort the events by time"),
    "SL0106": Code(
        "the format of an event file is not known",
        "convert it to a format that docs/events.md lists",
    ),
    "SL0107": Code(
        "events do not fit the format of the file to be written",
        "write another format; docs/events.md says what each holds",
    ),
    "SL0108": Code(
        "the header or the structure of an event file is malformed",
        "copy the file again, or record again",
    ),
    "SL0109": Code("event times jump", "record again"),
    "SL0110": Code("a frame recipe is malformed", "mend the recipe; docs/events.md says what it holds"),
    "SL0111": Code("frames and network disagree on the geometry", "give frames of the network's shape"),
    "SL0120": Code(
        "a labels file is malformed, or names recordings that are not there",
        "mend the labels file: the name and the class of a recording a line",
    ),
    "SL0121": Code(
        "an array or dataset input is malformed",
        "give finite numbers, in the shape that the network takes",
    ),
    # checkpoints and model factories
    "SL0201": Code(
        "a model factory cannot be loaded",
        "name a function that builds the model, as FILE.py:function",
    ),
    "SL0202": Code(
        "a checkpoint is missing or cannot be read",
        "check the path, and that torch.save or safetensors wrote the file",
    ),
    "SL0203": Code(
        "a checkpoint does not belong to the model",
        "check that the checkpoint and the factory's arguments are of one model",
    ),
    "SL0204": Code(
        "a checkpoint holds values that are not finite",
        "take a checkpoint of before the training diverged",
    ),
    "SL0205": Code(
        "a model needs a package that is not installed",
        "install the package that the model's file imports",
    ),
    "SL0206": Code(
        "a description of a model's inputs is malformed",
        "give input, shape, dtype or fixed of each input",
    ),
    "SL0211": Code("a NIR file is missing, damaged, or leads outside of itself", "export the network again"),
    "SL0212": Code(
        "NIR has no node for an operation of a network",
        "export it in another format, or change the model",
    ),
    "SL0213": Code("an ONNX file is missing, damaged, or leads outside of itself", "export the model again"),
    "SL0214": Code(
        "a netx file is missing or damaged, or holds what has no integer meaning",
        "export it again, with layers that netx itself loads",
    ),
    "SL0215": Code(
        "a capture of another environment is missing or damaged",
        "record the model again, with the spikeloom_capture.py of this version",
    ),
    # capture
    "SL0301": Code("the model cannot be exported", "check that the model runs on an input of --input-shape"),
    "SL0302": Code(
        "an operation of the model has no counterpart in the graph",
        "write it with other operations; `spikeloom ops` lists those of the graph",
    ),
    "SL0303": Code(
        "an operation mixes time or batch with other axes",
        "keep the axes of time and samples apart from all others",
    ),
    "SL0304": Code("a spiking neuron is not recognised", "declare the neuron; see docs/neurons.md"),
    "SL0305": Code("a spiking neuron disagrees with its equation", "report this neuron's class and settings"),
    "SL0306": Code(
        "the captured graph disagrees with eager PyTorch",
        "this is a bug in Spikeloom: please report it with the model",
    ),
    "SL0307": Code(
        "the input shape of the model is not declared",
        "say it with --input-shape, such as T,B,2,34,34",
    ),
    "SL0308": Code(
        "the equations of a declared neuron cannot be read",
        "see docs/neurons.md for what an equation may hold",
    ),
    # graph
    "SL0401": Code(
        "a graph breaks a rule of its operations",
        "this is a bug in Spikeloom, or the graph was changed by hand: please report it",
    ),
    "SL0402": Code(
        "a pass was run on a graph that does not meet its precondition",
        "run the passes in the order of the pipeline",
    ),
    # quantization
    "SL0501": Code("an operation has no integer form", "compile for the target onnx, or change the model"),
    "SL0502": Code(
        "two values must share a scale and do not",
        "compile for the target onnx, or change the model",
    ),
    "SL0503": Code(
        "an accumulator or a membrane potential could overflow",
        "use fewer bits, or compile for onnx",
    ),
    "SL0504": Code(
        "a parameter does not fit the numeric profile of the target",
        "use other --bits, or compile for onnx",
    ),
    "SL0505": Code(
        "calibration data is missing or silent",
        "calibrate on recordings like those that the model was trained on",
    ),
    "SL0506": Code(
        "integer spikes lie outside the declared rounding bound of trained PyTorch",
        "this is a bug in Spikeloom: please report it with the bundle",
    ),
    # targets and mapping
    "SL0601": Code("the target is not known", "see `spikeloom targets`"),
    "SL0602": Code("the target cannot execute an operation", "change the model, or compile it for onnx"),
    "SL0603": Code("the network does not fit a limit of the chip", "use more chips, or a smaller network"),
    "SL0604": Code("a target description is malformed", "mend the description of the target"),
    # bundles
    "SL0701": Code("a bundle is missing or is not a bundle", "write one: spikeloom compile ... -o X.loom"),
    "SL0702": Code("a bundle was changed after it was written", "compile it again"),
    "SL0703": Code(
        "a bundle was written by another version of the format",
        "compile the model again, or read it with the version that wrote it",
    ),
    # running
    "SL0801": Code(
        "an engine is not known or cannot run here",
        "see `spikeloom doctor` for the engines that run here",
    ),
    "SL0802": Code(
        "engines disagree on a spike",
        "this is a bug in Spikeloom: run `spikeloom reduce` on it and report what that writes",
    ),
    "SL0803": Code(
        "the data does not match the compiled network",
        "give data like that which the network was compiled for",
    ),
    "SL0804": Code("a benchmark network does not fire as it should", "give it other rates"),
    "SL0811": Code(
        "a saved state or a log is damaged, or belongs to another run",
        "name another file, or begin anew",
    ),
    "SL0812": Code(
        "an early exit rule is malformed, cannot be calibrated, or is for another network",
        "calibrate one: spikeloom exit",
    ),
    "SL0813": Code("a cluster cannot be reached, or loses its tasks", "see the logs of its workers"),
    # command line
    "SL0901": Code("an option is malformed", "see the command's --help"),
    "SL0902": Code("an output path cannot be written", "name a place that is yours to write to"),
    "SL0903": Code(
        "Spikeloom itself failed: a bug to report",
        "report it, with what SPIKELOOM_TRACEBACK=1 prints",
    ),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: stable code, a key of :data:`CODES`.
        where: the file, node, layer, core or option concerned.
        what: the fault, in one clause.
        wanted, got: what would have been right and what was found; empty if that says nothing.
        remedy: what to do next; that of the code if it is not given.

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
        if not self.remedy:
            object.__setattr__(self, "remedy", CODES[self.code].remedy)

    def __str__(self) -> str:
        detail = ", ".join(
            f"{word} {text}" for word, text in (("wanted", self.wanted), ("got", self.got)) if text
        )
        text = f"{self.code} {self.where}: {self.what}"
        text += f" ({detail})" if detail else ""
        return f"{text}; {self.remedy}"

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
