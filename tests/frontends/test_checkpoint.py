"""Checkpoints: every usual wrapper is taken off, nothing in a file is run, every fault has its code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.checkpoint import Checkpoint, load_into, read_checkpoint
from spikeloom.errors import InputError, Problem


def _model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def _without_remedy(problem: Problem) -> str:
    return str(problem).removesuffix(f"; {problem.remedy}")


def _same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def _prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


WRAPPERS: dict[str, Any] = {
    "bare": lambda t: t,
    "state_dict": lambda t: {"state_dict": t, "epoch": 3},
    "model": lambda t: {"model": t, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda t: {"model_state_dict": t},
    "net": lambda t: {"net": t},
    "nested": lambda t: {"checkpoint": 1, "model": {"state_dict": t}},
    "module.": lambda t: _prefixed(t, "module."),
    "_orig_mod.": lambda t: _prefixed(t, "_orig_mod."),
    "compiled, in parallel": lambda t: {"model": _prefixed(t, "module._orig_mod.")},
    "lightning": lambda t: {"state_dict": _prefixed(t, "model.")},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_usual_wrappers_are_taken_off(wrapper: str, tmp_path: Path) -> None:
    trained = _model(seed=1)
    torch.save(WRAPPERS[wrapper](dict(trained.state_dict())), tmp_path / "a.pt")
    model = _model()
    assert load_into(model, read_checkpoint(tmp_path / "a.pt")).dead == ()
    assert _same(model, trained)


class _Holder(nn.Module):
    """A model whose own part is called like a wrapper."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.model = _model(seed)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_part_that_is_called_model_keeps_its_name(prefix: str, tmp_path: Path) -> None:
    trained = _Holder(seed=1)
    torch.save(_prefixed(dict(trained.state_dict()), prefix), tmp_path / "a.pt")
    model = _Holder()
    assert load_into(model, read_checkpoint(tmp_path / "a.pt")).dead == ()
    assert _same(model, trained)


def test_safetensors(tmp_path: Path) -> None:
    trained = _model(seed=1)
    save_file(trained.state_dict(), tmp_path / "a.safetensors")
    model = _model()
    load_into(model, read_checkpoint(tmp_path / "a.safetensors"))
    assert _same(model, trained)


def test_the_format_of_old_torch(tmp_path: Path) -> None:
    trained = _model(seed=1)
    torch.save(trained.state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    model = _model()
    load_into(model, read_checkpoint(tmp_path / "a.pt"))
    assert _same(model, trained)


def test_the_constructors_keywords_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": _model().state_dict(), "config": {"depths": 2}}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").config == {"depths": 2}
    torch.save({"state_dict": _model().state_dict(), "config": "text"}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").config == {}


# --- matching --------------------------------------------------------------------------------------------


def test_dead_keys_are_reported_and_do_no_harm(tmp_path: Path) -> None:
    trained = _model(seed=1)
    torch.save({**trained.state_dict(), "pos_embed": torch.zeros(2)}, tmp_path / "a.pt")
    model = _model()
    assert load_into(model, read_checkpoint(tmp_path / "a.pt")).dead == ("pos_embed",)
    assert _same(model, trained)


def test_a_counter_of_batches_may_be_missing(tmp_path: Path) -> None:
    trained = _model(seed=1)
    tensors = {n: v for n, v in trained.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "a.pt")
    load_into(_model(), read_checkpoint(tmp_path / "a.pt"))


def test_missing_keys_shapes_and_leftovers_are_listed_at_once(tmp_path: Path) -> None:
    tensors = dict(_model(seed=1).state_dict())
    del tensors["0.bias"], tensors["1.running_var"]
    tensors["0.weight"] = torch.zeros(4, 5)
    tensors["extra"] = torch.zeros(2, 2)
    torch.save(tensors, tmp_path / "a.pt")
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_into(model, read_checkpoint(tmp_path / "a.pt"))
    assert sorted(_without_remedy(problem) for problem in caught.value.problems) == [
        "SL0203 0.bias: is missing in a.pt (wanted 4)",
        "SL0203 0.weight: has another shape in a.pt (wanted 4x3, got 4x5)",
        "SL0203 1.running_var: is missing in a.pt (wanted 4)",
        "SL0203 extra: has no place in the model (got 2x2)",
    ]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_models_checkpoint_lists_every_key() -> None:
    other = Checkpoint(Path("other.pt"), {"stem.weight": torch.zeros(3)})
    with pytest.raises(InputError) as caught:
        load_into(_model(), other)
    places = [problem.where for problem in caught.value.problems]
    assert places == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "stem.weight",
    ]


# --- what is not a checkpoint ----------------------------------------------------------------------------


def _code(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert caught.value.exit_status == 4
    return caught.value.problems[0].code


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("modern", [True, False])
def test_pickled_code_is_never_run(modern: bool, tmp_path: Path) -> None:
    content = {"state_dict": _model().state_dict(), "hook": _Trap(tmp_path / "sprung")}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=modern)
    assert _code(tmp_path / "a.pt") == "SL0202"
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    assert _code(tmp_path / "b.pt") == "SL0202"
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "a.pt", weights_only=False)  # the trap is a real one
    assert (tmp_path / "sprung").exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(_model(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"weights strip --trust"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"epoch": 3}, [1, 2], 3, torch.zeros(2), None], ids=str
)
def test_a_file_without_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"SL0202 .*a\.pt: holds no tensors"):
        read_checkpoint(tmp_path / "a.pt")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert _code(tmp_path / "no.pt") == "SL0202"
    assert _code(tmp_path) == "SL0202"


def _written(folder: Path, form: str) -> Path:
    path = folder / {"modern": "a.pt", "old": "a.pt", "safetensors": "a.safetensors"}[form]
    if form == "safetensors":
        save_file(_model().state_dict(), path)
    else:
        torch.save(_model().state_dict(), path, _use_new_zipfile_serialization=form == "modern")
    return path


@pytest.mark.parametrize("form", ["modern", "old", "safetensors"])
def test_truncated_files_are_refused(form: str, tmp_path: Path) -> None:
    path = _written(tmp_path, form)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 100)):
        path.write_bytes(whole[:length])
        assert _code(path) == "SL0202", length


@pytest.mark.parametrize("form", ["modern", "old", "safetensors"])
def test_damaged_files_are_refused_or_read_and_nothing_else(form: str, tmp_path: Path) -> None:
    path = _written(tmp_path, form)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        outcomes.add(_outcome(path))
    assert "SL0202" in outcomes
    assert outcomes <= {"read", "SL0202", "SL0204"}


def _outcome(path: Path) -> str:
    try:
        read_checkpoint(path)
    except InputError as error:
        return error.problems[0].code
    return "read"


@pytest.mark.parametrize("noise", [b"", b"PK\x03\x04", b"\x80\x02}", b"{}", bytes(range(256)) * 4], ids=len)
def test_noise_is_refused(noise: bytes, tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors", "a"):
        (tmp_path / name).write_bytes(noise)
        assert _code(tmp_path / name) == "SL0202"


def test_values_that_are_not_finite_are_all_listed(tmp_path: Path) -> None:
    tensors = dict(_model().state_dict())
    tensors["0.weight"][1, 2] = float("nan")
    tensors["1.running_var"][:2] = float("inf")
    torch.save(tensors, tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        read_checkpoint(tmp_path / "a.pt")
    assert [_without_remedy(problem) for problem in caught.value.problems] == [
        "SL0204 0.weight: is not finite in a.pt (got 1 value)",
        "SL0204 1.running_var: is not finite in a.pt (got 2 values)",
    ]
