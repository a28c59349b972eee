from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.framer import frames_of
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.arrays import arrays
from spikeloom.runtime.events.samples.dataset import dataset
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.stream import EVENT, DropReport

RECIPE = FrameRecipe(width=4, height=3, steps=2, duration_us=10)
SHAPE = RECIPE.sequence_shape


def record(path: Path, *times: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nmnist(path, np.array([(t, 0, 0, 0) for t in times or (0,)], EVENT))
    return path


# recordings


def test_a_folder_is_read_in_natural_order_without_what_is_no_recording(tmp_path: Path) -> None:
    for name in ("10.bs2", "2.bs2", "b/1.bin", "a10/1.BIN", "a9/1.bin", ".hidden.bin"):
        record(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    source = recordings(tmp_path, RECIPE)
    assert source.names == ["2.bs2", "10.bs2", "a9/1.bin", "a10/1.BIN", "b/1.bin"]
    assert [sample.name for sample in source] == source.names
    assert len(source) == 5


def test_a_file_and_globs(tmp_path: Path) -> None:
    for name in ("x/1.bin", "y/1.bin", "y/2.bs2", "y/deep/3.bin"):
        record(tmp_path / name)
    assert recordings(tmp_path / "x/1.bin", RECIPE).names == ["1.bin"]
    assert recordings(str(tmp_path / "*/1.bin"), RECIPE).names == ["x/1.bin", "y/1.bin"]
    assert recordings(str(tmp_path / "y/*"), RECIPE).names == ["1.bin", "2.bs2", "deep/3.bin"]
    assert recordings(str(tmp_path / "**"), RECIPE).names == ["x/1.bin", "y/1.bin", "y/2.bs2", "y/deep/3.bin"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    record(tmp_path / "a[1].bin")
    record(tmp_path / "a1.bin")
    assert recordings(tmp_path / "a[1].bin", RECIPE).names == ["a[1].bin"]


@pytest.mark.parametrize("path", ["", "none.bin", "*.bin", "sub"])
def test_nothing_to_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(
        InputError, match=r"SL0101 .*no recordings here \(wanted files ending in .*\.bin, \.bs2"
    ):
        recordings(tmp_path / path, RECIPE)


def test_files_of_no_known_format_are_all_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.doc", "c.bin"):
        record(tmp_path / name)
    with pytest.raises(InputError) as raised:
        recordings(str(tmp_path / "*.*"), RECIPE)
    assert [problem.code for problem in raised.value.problems] == ["SL0106", "SL0106"]


def test_samples_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    record(tmp_path / "1.bin", 3, 12, 25)
    record(tmp_path / "2.bin").write_bytes(b"\xff" * 7)
    source = recordings(tmp_path, RECIPE)
    sample = source[0]
    assert sample.frames.shape == SHAPE
    assert sample.frames.sum() == 2
    assert (sample.label, sample.report) == (None, DropReport(tail=1))
    with pytest.raises(InputError, match=r"SL0103 .*2\.bin"):
        source[1]
    assert recordings(tmp_path, RECIPE, strict=False)[1].report == DropReport(outside=1, left_over_bytes=2)
    with pytest.raises(IndexError):
        source[2]
    assert source[-2].name == "1.bin"


def test_labels(tmp_path: Path) -> None:
    for name in ("in/1.bin", "in/2.bin"):
        record(tmp_path / name)
    table = tmp_path / "labels.tsv"
    table.write_text("file\tlabel\nin/2.bin\t7\nin/1.bin\t3\nin/3.bin\t9\n")
    with pytest.raises(InputError, match=r"SL0120 .*not there \(got 3\.bin\)"):
        recordings(tmp_path / "in", RECIPE, table)
    assert [s.label for s in recordings(str(tmp_path / "in/*"), RECIPE, table)] == [3, 7]
    assert [s.label for s in recordings(tmp_path / "in/2.bin", RECIPE, table)] == [7]


def test_a_recipe_whose_frames_are_not_those_of_the_network(tmp_path: Path) -> None:
    record(tmp_path / "1.bin")
    assert len(recordings(tmp_path, RECIPE, shape=SHAPE)) == 1
    with pytest.raises(InputError, match=r"SL0111 .*wanted \[5, 2, 3, 4\], got \[2, 2, 3, 4\]"):
        recordings(tmp_path, RECIPE, shape=(5, *SHAPE[1:]))


def test_real_recordings_with_their_labels(data: Path) -> None:
    recipe = FrameRecipe(width=34, height=34, steps=5, duration_us=60_000)
    folder = data / "nmnist_small"
    source = recordings(folder / "test", recipe, folder / "test.tsv")
    assert len(source) == 60
    rows = [line.split("\t") for line in (folder / "test.tsv").read_text().splitlines()[1:]]
    assert {f"test/{sample.name}": str(sample.label) for sample in source} == dict(rows)
    assert all(sample.frames.any(axis=(1, 2, 3)).all() for sample in source)


# arrays


def npz(folder: Path, **content: Any) -> Path:
    np.savez(folder / "a.npz", **content)
    return folder / "a.npz"


def test_sequences_and_single_frames(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, *SHAPE))
    source = arrays(npz(tmp_path, x=x.astype(np.float32), y=np.array([4, 5, 6])), SHAPE)
    assert source.names == ["a.npz[0]", "a.npz[1]", "a.npz[2]"]
    assert [sample.label for sample in source] == [4, 5, 6]
    assert np.array_equal(np.stack([sample.frames for sample in source]), x)
    still = arrays(npz(tmp_path, x=x[:, 0]), SHAPE)[1]
    assert still.frames.dtype == np.uint8
    assert np.array_equal(still.frames, np.stack([x[1, 0], x[1, 0]]))
    assert still.label is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": np.zeros(3)}, "SL0121 .*holds no samples.*got y"),
        ({"x": np.zeros((0, *SHAPE))}, "SL0121 .*holds no samples"),
        ({"x": np.zeros(())}, "SL0121 .*holds no samples"),
        ({"x": np.full((1, *SHAPE), 0.5)}, "SL0121 .*x: 48 of 48 values"),
        ({"x": np.full((1, *SHAPE), 256)}, "SL0121 .*x: 48 of 48 values"),
        ({"x": np.zeros((1, 3, *SHAPE[1:]))}, r"SL0111 .*wanted \[2, 2, 3, 4\].*got \[3, 2, 3, 4\]"),
        ({"x": np.zeros((2, *SHAPE)), "y": np.zeros(3)}, r"SL0121 .*differ in number.*\[2\], got \[3\]"),
        ({"x": np.zeros((1, *SHAPE)), "y": np.array([-1])}, "SL0121 .*y: 1 of 1 values"),
        ({"x": np.array([None] * 3)}, "SL0121 .*is no .npz or .npy file of plain arrays: .*allow_pickle"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        arrays(npz(tmp_path, **content), SHAPE)


def test_shape_and_labels_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        arrays(npz(tmp_path, x=np.zeros((1, 9)), y=np.zeros(3)), SHAPE)
    assert [problem.code for problem in raised.value.problems] == ["SL0111", "SL0121"]


def test_an_npy_file_holds_x_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, *SHAPE)))
    samples = arrays(tmp_path / "a.npy", SHAPE)
    assert [(sample.label, int(sample.frames.min())) for sample in samples] == [(None, 1), (None, 1)]


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY and so on")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "c.npz").write_bytes(b"")
    for name in ("a.npy", "b.npz", "c.npz", "none.npz", "."):
        with pytest.raises(InputError, match="SL0121"):
            arrays(tmp_path / name, SHAPE)


def test_damaged_npz_files_raise_only_input_errors(tmp_path: Path) -> None:
    content = npz(tmp_path, x=np.zeros((2, *SHAPE), np.uint8), y=np.arange(2)).read_bytes()
    refused = 0
    for number in range(300):
        rng = Random(number)
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "b.npz").write_bytes(damaged[: rng.randrange(len(damaged)) if number % 4 == 0 else None])
        try:
            assert len(arrays(tmp_path / "b.npz", SHAPE)) == 2
        except InputError:
            refused += 1
    assert refused > 100


# data sets


@pytest.fixture
def factory(tmp_path: Path) -> Callable[..., str]:
    """Write a module whose `make` returns the given expression; give its FILE.py:make."""

    def write(expression: str, before: str = "") -> str:
        number = len(list(tmp_path.glob("*.py")))
        file = tmp_path / f"data{number}.py"
        file.write_text(f"import numpy as np\n{before}\ndef make():\n    return {expression}\n")
        return f"{file}:make"

    return write


def test_a_data_set_of_frames(factory: Callable[..., str]) -> None:
    spec = factory(
        "[(np.ones((2, 2, 3, 4)), 3), (np.zeros((2, 3, 4), bool), np.int64(0)), (np.ones((2, 3, 4)), None)]"
    )
    source = dataset(spec, None, SHAPE)
    assert source.names == ["make[0]", "make[1]", "make[2]"]
    assert [(sample.label, int(sample.frames.sum())) for sample in source] == [(3, 48), (0, 0), (None, 48)]
    assert all(sample.frames.shape == SHAPE for sample in source)


def test_a_data_set_of_events_goes_through_the_recipe(factory: Callable[..., str], tmp_path: Path) -> None:
    rows = [(3, 1, 2, 1), (12, 0, 0, 0), (12, 3, 1, 1), (25, 0, 0, 0)]
    spec = factory(f"[(np.array({rows}, [(f, 'i8') for f in 'txyp'])[['x', 'y', 't', 'p']], 1)]")
    [sample] = dataset(spec, RECIPE, SHAPE)
    write_nmnist(tmp_path / "a.bin", np.array(rows, EVENT))
    frames, report = frames_of(tmp_path / "a.bin", RECIPE)
    assert np.array_equal(sample.frames, frames)
    assert sample.report == report == DropReport(tail=1)


def test_damaged_events_of_a_data_set(factory: Callable[..., str]) -> None:
    spec = factory(
        "[(np.array([(5, -1, 0, 0), (5, 0, 0, 0), (4, 0, 0, 0)], [(f, 'i4') for f in 'txyp']), 1)]"
    )
    with pytest.raises(InputError) as raised:
        dataset(spec, RECIPE, SHAPE)[0]
    assert [problem.code for problem in raised.value.problems] == ["SL0104", "SL0105"]
    assert raised.value.problems[0].where == f"{spec}, item 0"
    assert raised.value.problems[1].got == "event 2: x=0 y=0 p=0 t=4 us after t=5 us"
    [sample] = dataset(spec, RECIPE, SHAPE, strict=False)
    assert sample.report == DropReport(outside=1, backwards=1)


def test_a_data_set_of_tensors(factory: Callable[..., str]) -> None:
    pytest.importorskip("torch")
    spec = factory(
        "torch.utils.data.TensorDataset(torch.ones(3, 2, 2, 3, 4), torch.arange(3))",
        "import torch\nimport torch.utils.data",
    )
    source = dataset(spec, None, SHAPE)
    assert [(sample.label, int(sample.frames.sum())) for sample in source] == [(0, 48), (1, 48), (2, 48)]


@pytest.mark.parametrize("expression", ["3", "[]", "{1, 2}", "1 / 0", "iter([1])"])
def test_what_is_no_data_set(factory: Callable[..., str], expression: str) -> None:
    with pytest.raises(InputError, match=r"SL0121 .*gives no data set"):
        dataset(factory(expression), None, SHAPE)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("3", "SL0121 .*item 0: gives no pair"),
        ("(1, 2, 3)", "SL0121 .*item 0: gives no pair"),
        ("(np.zeros((9, 9)), 1)", r"SL0111 .*item 0: .*\[2, 2, 3, 4\].*got \[9, 9\]"),
        ("(np.full((2, 3, 4), 0.5), 1)", "SL0121 .*item 0: 24 of 24 values"),
        ("(np.zeros((2, 3, 4)), -1)", "SL0121 .*item 0, label"),
        ("(np.zeros((2, 3, 4)), 'seven')", "SL0121 .*item 0, label: holds no numbers"),
        ("(np.zeros((2, 3, 4)), [0, 1])", r"SL0121 .*item 0: the label is no class.*shape \[2\]"),
        ("(np.zeros(1, [('t', 'i4')]), 1)", "SL0121 .*item 0: events lack fields"),
    ],
)
def test_items_that_cannot_be_used(factory: Callable[..., str], item: str, message: str) -> None:
    source = dataset(factory(f"[{item}]"), RECIPE, SHAPE)
    with pytest.raises(InputError, match=message):
        source[0]


def test_an_item_that_raises(factory: Callable[..., str]) -> None:
    before = "class Broken(list):\n    def __getitem__(self, i):\n        raise OSError('disk gone')\n"
    with pytest.raises(InputError, match=r"SL0121 .*item 0: gives no pair .*OSError: disk gone"):
        dataset(factory("Broken([1])", before), None, SHAPE)[0]


def test_events_need_a_recipe_of_the_networks_shape(factory: Callable[..., str]) -> None:
    spec = factory("[(np.zeros(1, [(f, 'i4') for f in 'txyp']), 1)]")
    with pytest.raises(InputError, match=r"SL0121 .*no recipe"):
        dataset(spec, None, SHAPE)[0]
    with pytest.raises(InputError, match=r"SL0111 .*wanted \[9, 2, 3, 4\]"):
        dataset(spec, RECIPE, (9, *SHAPE[1:]))[0]


def test_a_factory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SL0201"):
        dataset(f"{tmp_path}/none.py:make", None, SHAPE)
