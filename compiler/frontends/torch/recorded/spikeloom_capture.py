#!/usr/bin/env python
"""Record a spiking network where it was trained, for Spikeloom to compile elsewhere.

This one file needs PyTorch (1.8 or later) and what the model itself needs, on Python 3.6 or later:

    python spikeloom_capture.py FILE.py:factory --weights W.pth --input-shape T,B,2,34,34 -o MODEL.capture

and then, where Spikeloom is installed:

    spikeloom compile MODEL.capture --target onnx --calibrate FOLDER -o MODEL.loom

What is written is data: the PyTorch functions that the model calls on tensors that depend on its input,
with their arguments; the constants among these (weights that the model computes from others are constants
too); what each neuron layer is, with its answers to probes; and its spikes on reference frames. The file
holds no pickle and no code. The model is called in eval mode, without gradients, with several sizes of time
and batch.
"""

import argparse
import ast
import copy
import ctypes
import hashlib
import importlib.util
import inspect
import json
import os
import platform
import sys
import zipfile

import torch

FORMAT = 1
SIZES = ((5, 3), (7, 2))
"""Steps and samples of the two recordings of a model whose input has an axis of time."""
LOOP_SIZES = ((1, 3), (1, 2), (3, 3), (3, 2))
"""More, for a model that calls other functions when the number of steps changes."""
PARALLEL = ("PSN", "MaskedPSN", "SlidingPSN")
SETTINGS = (
    "step_mode",
    "v_threshold",
    "v_reset",
    "tau",
    "w",
    "decay_input",
    "c_decay",
    "v_decay",
    "weight",
    "bias",
)
SURROGATE_POINTS = (-3.0, -2.5, -0.1, 0.0, 0.1, 0.5, 1.5, 1.6, 2.5, 7.0, 1e4)
PROBES, PROBE_STEPS, PROBE_WIDTH = 4, 12, 64
REACHES = [2.0**exponent for exponent in range(-8, 9)]
RATES = (0.05, 0.7)
REACH, POINTS, MOST_LEVELS, BISECTIONS = 64.0, 4096, 64, 80
READS = ("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero")
"""Functions by which a model's path may come to depend on its input."""


class CaptureError(Exception):
    """The model cannot be recorded; the text says why."""


class Recorder:
    """What a model does to tensors that depend on its input, call by call.

    Attributes:
        tensors: constants and answers, by their number in the file.
        calls: of the recording that is being made.
        outputs: of the neuron layers in it, as (layer, tensor).
        stack: path and class of the modules that are being called.
    """

    def __init__(self, model):
        self.tensors, self.numbers = [], {}
        self.calls, self.outputs, self.stack, self.count = [], [], [], 0
        self.paths = {id(tensor): path for path, tensor in model.named_parameters()}
        self.names = function_names()

    def start(self):
        """Begin another recording."""
        self.calls, self.outputs, self.count = [], [], 0

    def wrap(self, tensor):
        """A tensor that depends on the input, under a new number."""
        traced = tensor.as_subclass(Traced)
        traced.recorder, traced.number = self, self.count
        self.count += 1
        return traced

    def constant(self, tensor):
        """The number of a constant in the file."""
        path = self.paths.get(id(tensor), "")
        held = tensor.detach().as_subclass(torch.Tensor).cpu()
        key = (
            path,
            str(held.dtype),
            held.shape,
            held.stride(),
            hashlib.sha256(raw(held.contiguous())).digest(),
        )
        if key not in self.numbers:  # what a model computes from its weights is made anew in each call
            self.numbers[key] = self.store(held, path)
        return self.numbers[key]

    def store(self, tensor, path=""):
        """Put a tensor into the file."""
        self.tensors.append((tensor.detach().as_subclass(torch.Tensor).cpu().clone(), path))
        return len(self.tensors) - 1

    def call(self, function, args, kwargs, result):
        """Note a call and wrap what it gave."""
        before = {id(each): each for each in leaves((args, kwargs)) if isinstance(each, Traced)}
        if not any(isinstance(each, torch.Tensor) for each in leaves(result)):
            name = getattr(function, "__name__", str(function))
            if name in READS:
                raise CaptureError(
                    "%s: %s: the model reads a value that depends on its input" % (where(), name)
                )
            return result
        name = self.names.get(function)
        if name is None:
            raise CaptureError("%s: %s is no public function of PyTorch" % (where(), function))
        inputs = [self.encode(each) for each in args]
        keywords = {key: self.encode(value) for key, value in kwargs.items()}
        outputs, result = self.outcome(result, before)
        self.note({"function": name, "args": inputs, "kwargs": keywords, "out": outputs})
        return result

    def note(self, call):
        """Append a call with where it stands."""
        path, kind = self.stack[-1] if self.stack else ("", "")
        file, line = site()
        call.update({"module": path, "class": kind, "file": file, "line": line})
        self.calls.append(call)

    def outcome(self, result, before):
        """The numbers of results, and the results wrapped; one that was an argument keeps its number."""
        if isinstance(result, (tuple, list)):
            pairs = [self.outcome(each, before) for each in result]
            whole = [pair[1] for pair in pairs]
            rebuilt = type(result)(whole) if type(result) in (tuple, list) else tuple(whole)
            return [pair[0] for pair in pairs], rebuilt
        if not isinstance(result, torch.Tensor):
            return None, result
        if id(result) in before:
            return before[id(result)].number, before[id(result)]
        traced = self.wrap(result)
        return traced.number, traced

    def encode(self, value):
        """An argument as JSON."""
        if isinstance(value, Traced) and getattr(value, "recorder", None) is self:
            return {"value": value.number}
        if isinstance(value, torch.Tensor):
            return {"constant": self.constant(value)}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return {"float": value.hex()}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, slice):
            return {"slice": [self.encode(part) for part in (value.start, value.stop, value.step)]}
        if isinstance(value, (tuple, list, torch.Size)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [self.encode(part) for part in value]}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).split(".")[-1]}
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return {"default": str(value)}
        raise CaptureError("%s: an argument of type %s" % (where(), type(value).__name__))


class Traced(torch.Tensor):
    """A tensor that depends on the input of the model."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            result = function(*args, **kwargs)
        found = [each.recorder for each in leaves((args, kwargs)) if getattr(each, "recorder", None)]
        return found[0].call(function, args, kwargs, result) if found else result

    def __deepcopy__(self, memo):
        return self.detach().as_subclass(torch.Tensor).clone()


def leaves(value):
    """All parts of nested arguments."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return [value]


def memory_order(tensor):
    """The axes of a tensor from the outermost in memory; sums over it are taken in that order."""
    return sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))


def raw(tensor):
    """The bytes of a tensor."""
    size = tensor.numel() * tensor.element_size()
    return ctypes.string_at(tensor.data_ptr(), size) if size else b""


def plain(value):
    """Nested arguments, with plain tensors in them."""
    if isinstance(value, Traced):
        with torch._C.DisableTorchFunction():
            return value.as_subclass(torch.Tensor)
    if isinstance(value, (tuple, list)):
        return type(value)(plain(part) for part in value)
    return value


def function_names():
    """The public name of every function of PyTorch that may be called on tensors."""
    spaces = [
        ("torch.nn.functional", torch.nn.functional),
        ("torch.Tensor", torch.Tensor),
        ("torch", torch),
        ("torch.fft", getattr(torch, "fft", None)),
        ("torch.special", getattr(torch, "special", None)),
        ("torch.linalg", getattr(torch, "linalg", None)),
        ("torch._C._nn", torch._C._nn),
    ]
    names = {}
    for prefix, space in spaces:
        for key in dir(space):
            function = getattr(space, key, None)
            if callable(function) and not isinstance(function, type):
                try:
                    names.setdefault(function, "%s.%s" % (prefix, key))
                except TypeError:  # it cannot be hashed
                    continue
    return names


def site():
    """File and line of the user's code that is running."""
    frame = sys._getframe(1)
    own, library = os.path.abspath(__file__), os.path.dirname(torch.__file__)
    while frame is not None:
        file = os.path.abspath(frame.f_code.co_filename)
        if file != own and not file.startswith(library):
            return os.path.basename(file), frame.f_lineno
        frame = frame.f_back
    return "", 0


def where():
    """The same as text."""
    return "%s:%d" % site()


# neurons


def is_neuron(module):
    """Whether a module is a spiking neuron layer with a memory, by its attributes."""

    def owns(one):
        return hasattr(one, "v_threshold") or type(one).__name__ in PARALLEL

    return owns(module) and not any(owns(child) for child in module.children())


def reset(model):
    """Put every stateful module back to its start."""
    for module in model.modules():
        function = getattr(module, "reset", None)
        if callable(function):
            function()


def find_neurons(model):
    """(path, module, stairs) of all layers; stairs are what a graded neuron without a memory computes."""
    found = []
    for path, module in model.named_modules():
        if any(path.startswith(other + ".") for other, _, _ in found):
            continue
        if is_neuron(module):
            found.append((path, module, None))
        else:
            steps = staircase(module)
            if steps is not None:
                found.append((path, module, steps))
    return found


def staircase(module):
    """The last input below each rise of a module that rises in few steps, and its values; else None."""
    bare = not list(module.parameters()) and not list(module.buffers())
    if type(module).__module__.startswith("torch.") or not bare:
        return None
    try:
        twin = copy.deepcopy(module).eval()
        grid = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
        seen = answers(twin, grid)
        values = torch.unique(seen)
        if not 3 <= len(values) <= MOST_LEVELS + 1 or bool((seen[1:] < seen[:-1]).any()):
            return None
        return [edge(twin, grid, seen, float(value)) for value in values[1:]], values.tolist()
    except Exception:  # whatever its own code raises: it is something else
        return None


def answers(module, x):
    """What a module makes of each number."""
    with torch.no_grad():
        y = module(x.reshape(1, 1, 1, -1))
    if tuple(y.shape) != (1, 1, 1, len(x)):
        raise ValueError("it does not work element by element")
    return y.reshape(-1)


def edge(module, grid, seen, value):
    """The last number at which a module is below a value."""
    first = int((seen >= value).to(torch.int8).argmax())
    low, high = float(grid[first - 1]), float(grid[first])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if bool(answers(module, torch.tensor([middle], dtype=torch.float64))[0] >= value):
            high = middle
        else:
            low = middle
    return low


def described(module, recorder):
    """Class, settings and answers of a neuron layer with a memory."""
    settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    for key in SETTINGS:
        if hasattr(module, key):
            settings[key] = getattr(module, key)
    kinds = [
        [kind.__name__, sorted(key for key in vars(kind) if not key.startswith("__static"))]
        for kind in type(module).__mro__
        if kind.__module__ != "builtins" and not kind.__module__.startswith("torch.")
    ]
    surrogate = getattr(module, "surrogate_function", None)
    own = {key: value for key, value in vars(surrogate).items() if key[0] != "_"} if surrogate else {}
    about = {"kinds": kinds, "settings": written(settings, recorder), "probes": probes(module, recorder)}
    if callable(surrogate):
        about["surrogate"] = {
            "class": type(surrogate).__name__,
            "settings": written(own, recorder),
            "answers": surrogate_answers(surrogate),
        }
    return about


def surrogate_answers(surrogate):
    """What a surrogate function gives at some points."""
    try:
        with torch.no_grad():
            return surrogate(torch.tensor(SURROGATE_POINTS)).tolist()
    except Exception:  # whatever its own code raises: nothing is known of it then
        return []


def written(settings, recorder):
    """Settings that are numbers, texts or tensors."""
    kept = {}
    for key, value in settings.items():
        if isinstance(value, torch.Tensor):
            kept[key] = {"constant": recorder.constant(value)}
        elif value is None or isinstance(value, (bool, int, str, float)):
            kept[key] = recorder.encode(value)
    return kept


def probes(module, recorder):
    """Currents of a size that makes a neuron fire now and then, and its spikes, in float64."""
    for reach in REACHES:
        runs = []
        for trial in range(PROBES):
            generator = torch.Generator()
            generator.manual_seed(trial)
            size = (PROBE_STEPS, 1, PROBE_WIDTH)
            currents = reach * (0.6 + torch.randn(size, dtype=torch.float64, generator=generator))
            runs.append((currents, run_alone(module, currents)))
        rate = float(torch.stack([(spikes != 0).double().mean() for _, spikes in runs]).mean())
        if RATES[0] <= rate <= RATES[1]:
            return [[recorder.store(currents), recorder.store(spikes)] for currents, spikes in runs]
    return []


def run_alone(module, currents):
    """The spikes of a copy of a neuron layer."""
    twin = copy.deepcopy(module).cpu().double().eval()
    if getattr(twin, "backend", "torch") != "torch":
        twin.backend = "torch"
    reset(twin)
    with torch.no_grad():
        if getattr(twin, "step_mode", "m") == "m":
            return spikes_of(twin(currents)).detach()
        return torch.stack([spikes_of(twin(current)) for current in currents]).detach()


def spikes_of(result):
    """What a layer sends, of all that a call of it returns."""
    return result[0] if isinstance(result, tuple) else result


def watch(model, neurons, recorder):
    """Make every neuron layer one call of the recording, and keep track of the modules that run."""
    for index, (path, module, _) in enumerate(neurons):
        module.forward = as_one_call(module, path, index, recorder)
    for path, module in model.named_modules():
        module.register_forward_pre_hook(entering(recorder, path, type(module).__name__))
        module.register_forward_hook(leaving(recorder))


def entering(recorder, path, kind):
    """A hook that notes a module."""

    def enter(module, inputs):
        recorder.stack.append((path, kind))

    return enter


def leaving(recorder):
    """A hook that forgets it."""

    def leave(module, inputs, result):
        recorder.stack.pop()

    return leave


def as_one_call(module, path, index, recorder):
    """The forward of a neuron layer, recorded as one call with the index of the layer."""
    own = module.forward

    def forward(x, *rest, **keywords):
        result = plain(own(plain(x), *rest, **keywords))
        if not isinstance(x, Traced):
            return result
        if isinstance(result, tuple):
            raise CaptureError("%s: it returns more than its spikes" % path)
        traced = recorder.wrap(result)
        recorder.outputs.append((index, result.detach().clone()))
        recorder.note({"neuron": index, "args": [recorder.encode(x)], "kwargs": {}, "out": traced.number})
        return traced

    return forward


# recordings


def record(model, recorder, x):
    """One call of the model: the calls that it makes, and which value it answers with."""
    reset(model)
    recorder.start()
    recorder.stack = []
    with torch.no_grad():
        answer = model(recorder.wrap(x))
    reset(model)
    if isinstance(answer, (tuple, list)):
        answer = answer[0]
    if not isinstance(answer, Traced):
        raise CaptureError("the first thing that the model returns does not depend on its input")
    return {"calls": recorder.calls, "input": 0, "output": answer.number}


def record_all(model, recorder, shape, steps, device):
    """Recordings of several sizes, until two of other sizes are the same calls."""
    timed = "T" in shape
    wanted = list(SIZES) if timed else [(1, 3), (1, 2)]
    own = [(steps, batch) for batch in ((3, 2) if steps > 3 else (7, 5))] if timed and steps else []
    recordings, failure = [], None
    for sizes in wanted:
        try:
            recordings.append(recorded_at(model, recorder, shape, sizes, device))
        except CaptureError:
            raise
        except Exception as error:  # whatever the model's own code raises: it may take its own length only
            failure = error
    kinds = {tuple(call.get("function", "neuron") for call in one["calls"]) for one in recordings}
    if timed and (failure is not None or len(kinds) > 1):
        more = own if failure is not None else list(LOOP_SIZES) + own
        if not more:
            raise CaptureError(
                "it fails with %d steps; say its own number with --steps N: %s" % (SIZES[0][0], failure)
            )
        recordings += [recorded_at(model, recorder, shape, sizes, device) for sizes in more]
    elif failure is not None:
        raise failure
    return recordings


def recorded_at(model, recorder, shape, sizes, device):
    """A recording on zeros of one size."""
    one = record(model, recorder, torch.zeros(concrete(shape, sizes), device=device))
    one["steps"], one["batch"] = sizes
    return one


def concrete(shape, sizes):
    """A shape with numbers for T and B."""
    letters = {"T": sizes[0], "B": sizes[1]}
    return [letters.get(axis, axis) for axis in shape]


def reference(model, recorder, shape, steps, device, path, count):
    """Frames, and what the network makes of them: spikes of every layer, call by call, and its answer."""
    if path:
        frames = load_frames(path)
    else:
        generator = torch.Generator()
        generator.manual_seed(0)
        frames = (torch.rand(concrete(shape, (steps, 1)), generator=generator) < 0.3).float()
    record(model, recorder, frames.to(device))
    outputs, rates = [], [0.0] * count
    for index, spikes in recorder.outputs:
        outputs.append([index, recorder.store(spikes.to(torch.float32))])
        rates[index] = max(rates[index], float(spikes.ne(0).double().mean()))
    return {"frames": recorder.store(frames), "spikes": outputs}, rates


def load_frames(path):
    """Frames from .npy, or a tensor saved by torch.save."""
    if path.endswith(".npy"):
        import numpy

        return torch.from_numpy(numpy.load(path, allow_pickle=False)).float()
    return torch.load(path).float()


# the model and the file


def load_factory(spec, repo):
    """The factory of FILE.py:name."""
    path, _, name = spec.rpartition(":")
    path = os.path.abspath(path)
    for folder in (repo, os.path.dirname(path)):
        if folder:
            sys.path.insert(0, os.path.abspath(folder))
    found = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return getattr(module, name)


def load_weights(model, path):
    """Put a checkpoint of one of the usual shapes into a model; every tensor must fit."""
    content = torch.load(path, map_location="cpu")
    for key in ("state_dict", "model_state_dict", "model", "net", "module"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    content = {key[7:] if key.startswith("module.") else key: value for key, value in content.items()}
    model.load_state_dict(content)


def build(arguments):
    """The model of the command line, with its weights, in eval mode."""
    factory = load_factory(arguments.model, arguments.repo)
    keywords = {}
    for text in arguments.arg:
        name, _, value = text.partition("=")
        try:
            keywords[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            keywords[name] = value
    model = factory(**keywords)
    if inspect.isclass(model) or not isinstance(model, torch.nn.Module):
        raise CaptureError("%s does not build a torch.nn.Module" % arguments.model)
    if arguments.weights:
        load_weights(model, arguments.weights)
    return model.to(arguments.device).eval()


def capture(model, shape, steps, device="cpu", frames=""):
    """The whole document and its tensors.

    Args:
        model: in eval mode, with its weights.
        shape: axes, such as ["T", "B", 2, 34, 34].
        steps: time steps of the reference run; 0 where the model has its own.
        device: where it runs.
        frames: a file of reference frames; random spikes where there is none.
    """
    for module in model.modules():
        if device == "cpu" and getattr(module, "backend", "torch") != "torch":
            module.backend = "torch"
    recorder = Recorder(model)
    neurons = find_neurons(model)
    if not neurons:
        raise CaptureError("the model has no neuron layer that is known")
    layers = [
        {"path": path, "edges": [edge.hex() for edge in steps_of[0]], "values": steps_of[1]}
        if steps_of
        else dict(described(module, recorder), path=path)
        for path, module, steps_of in neurons
    ]
    watch(model, neurons, recorder)
    recordings = record_all(model, recorder, shape, steps, device)
    told, rates = reference(model, recorder, shape, steps or 4, device, frames, len(neurons))
    document = {
        "format": FORMAT,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "shape": shape,
        "steps": steps,
        "neurons": layers,
        "recordings": recordings,
        "reference": told,
        "rates": rates,
    }
    return document, recorder.tensors


def write(path, document, tensors):
    """One file: the document, and the bytes of each tensor."""
    entries = []
    with zipfile.ZipFile(path + ".partial", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (tensor, name) in enumerate(tensors):
            kind = str(tensor.dtype).split(".")[-1]
            tensor = tensor.to(torch.uint8) if tensor.dtype is torch.bool else tensor
            order = memory_order(tensor)
            archive.writestr(
                "tensors/%d" % number, raw(tensor.permute(*order).contiguous() if order else tensor)
            )
            entry = {"dtype": kind, "shape": list(tensor.shape), "order": order, "parameter": name}
            entries.append(entry)
        archive.writestr("capture.json", json.dumps(dict(document, tensors=entries)))
    os.replace(path + ".partial", path)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="FILE.py:factory")
    parser.add_argument("--weights", help="its checkpoint; loaded by torch.load, so trust it")
    parser.add_argument("--input-shape", required=True, help="such as T,B,2,34,34 or B,3,224,224")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE", help="of the factory")
    parser.add_argument("--repo", default="", help="a folder that the file imports from")
    parser.add_argument("--steps", type=int, default=0, help="time steps of a sample")
    parser.add_argument("--frames", default="", help="reference frames, .npy or .pt, shaped as the input")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    shape = [axis if axis in ("T", "B") else int(axis) for axis in arguments.input_shape.split(",")]
    try:
        model = build(arguments)
        document, tensors = capture(model, shape, arguments.steps, arguments.device, arguments.frames)
    except CaptureError as error:
        sys.exit("spikeloom_capture: %s" % error)
    write(arguments.output, document, tensors)
    calls = len(document["recordings"][0]["calls"])
    print(
        "wrote %s: %d neuron layers, %d calls, recorded with torch %s"
        % (arguments.output, len(document["neurons"]), calls, torch.__version__)
    )
    silent = [layer["path"] for layer, rate in zip(document["neurons"], document["rates"]) if not rate]
    if silent:
        print("silent on the reference frames: %s" % ", ".join(silent))


if __name__ == "__main__":
    main()
