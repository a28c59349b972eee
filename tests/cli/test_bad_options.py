"""Options and output paths that cannot be used, told before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikeloom import atomic
from tests.cli.conftest import Workshop
from tests.cli.terminal import refused, spikeloom, tree


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        (["--no-such-option"], "spikeloom compile", "No such option: --no-such-option"),
        (["--bits", "9"], "--bits", "is no width of a weight"),
        (["--bits", "1"], "--bits", "is no width of a weight"),
        (["--bits", "eight"], "--bits", "is no width of a weight"),
        (["--samples", "0"], "spikeloom compile", "'--samples'"),
        (["--chips", "0"], "spikeloom compile", "'--chips'"),
        (["--stop-after", "lunch"], "--stop-after", "no such stage"),
        (["--dump-after", "lunch"], "--dump-after", "no such stage"),
        (["--map-only", "--target", "onnx"], "--map-only", "onnx has no cores"),
        (["--input-shape", "2,8,8"], "--input-shape", "'2,8,8' is not a shape"),
        (["--input-shape", "T,B,two"], "--input-shape", "'T,B,two' is not a shape"),
        (["--input-shape", "T,B,0,8,8"], "--input-shape", "'T,B,0,8,8' is not a shape"),
    ],
)
def test_options_of_compile(
    options: list[str], where: str, what: str, workshop: Workshop, tmp_path: Path
) -> None:
    [problem] = refused(*workshop.compile(tmp_path / "x.loom", *options), within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", where)
    assert what in problem.what


def test_a_stage_is_told_from_the_others(workshop: Workshop, tmp_path: Path) -> None:
    args = workshop.compile(tmp_path / "x.loom", "--stop-after", "lunch")
    [problem] = refused(*args, within=tmp_path)
    assert problem.wanted == "capture or canonical or integer or mapped or bundle"
    assert problem.got == "lunch"


@pytest.mark.parametrize("target", ["loihi", "", "../loihi2"])
def test_a_target_that_is_not_known(target: str, workshop: Workshop, tmp_path: Path) -> None:
    compiles = workshop.compile(tmp_path / "x.loom", "--target", target)
    compiles[1] = "none.py:build"  # the target is looked at first
    for args in (compiles, ["targets", target]):
        [problem] = refused(*args, within=tmp_path)
        assert (problem.code, problem.where) == ("SL0601", target)
        assert "loihi2" in problem.wanted
        assert "onnx" in problem.wanted


def test_an_input_shape_that_the_recordings_do_not_have(workshop: Workshop, tmp_path: Path) -> None:
    args = workshop.compile(tmp_path / "x.loom", "--input-shape", "T,B,2,9,9")
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.wanted, problem.got) == ("SL0111", "[4, 2, 9, 9]", "[4, 2, 8, 8]")


@pytest.mark.parametrize(
    ("engines", "code"),
    [
        ("reference", "SL0901"),
        ("", "SL0901"),
        ("onnx,onnx", "SL0901"),
        ("reference,abacus", "SL0801"),
    ],
)
def test_engines_of_verify(engines: str, code: str, bundle: Path, tmp_path: Path) -> None:
    [problem] = refused("verify", bundle, "--engines", engines, within=tmp_path)
    assert problem.code == code


def test_an_engine_that_is_not_known(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    args = ("run", bundle, "--events", workshop.test, "--engine", "abacus")
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0801", "abacus")
    assert "onnx or reference" in problem.wanted


@pytest.mark.parametrize("arguments", [["lunch"], ["run"], ["compile"], ["--lunch"], ["run", "a", "b"]])
def test_commands_that_are_not_complete(arguments: list[str], tmp_path: Path) -> None:
    [problem] = refused(*arguments, within=tmp_path)
    assert problem.code == "SL0901"
    assert problem.where.startswith("spikeloom")
    assert problem.remedy.endswith("--help")
    assert not problem.what.endswith(".")


@pytest.fixture
def not_ours(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be written; even root cannot make a file in /sys."""
    if os.geteuid() == 0:
        yield Path("/sys")
        return
    folder = tmp_path / "not_ours"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize("command", ["compile", "log", "outputs", "report"])
def test_outputs_that_cannot_be_written(
    command: str, workshop: Workshop, bundle: Path, not_ours: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    name = {"compile": "x.loom", "report": "x.html"}.get(command, "x.parquet")
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("precious")
    for folder in (tmp_path / "missing", tmp_path / "file", not_ours, tmp_path):
        path = folder / name
        run: list[object] = ["run", bundle, "--events", workshop.test]
        args = {
            "compile": workshop.compile(path),
            "log": [*run, "--log", path],
            "outputs": [*run, "--outputs", path],
            "report": ["report", bundle, "--events", workshop.test, "-o", path],
        }[command]
        [problem] = refused(*args, within=tmp_path)
        assert (problem.code, problem.where) == ("SL0902", str(path))
        assert problem.remedy


@pytest.mark.parametrize("name", ["precious", "."])
def test_a_folder_that_is_no_bundle_is_never_replaced(
    name: str, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "notes.txt").write_text("precious")
    [problem] = refused(*workshop.compile(Path(name)), within=tmp_path)
    assert (problem.code, problem.where) == ("SL0902", name)


def test_outputs_are_refused_before_the_work(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    """The recordings, and the model, are never looked at."""
    args = workshop.compile(tmp_path / "none" / "x.loom")
    args[1] = "none.py:build"
    assert [problem.code for problem in refused(*args, within=tmp_path)] == ["SL0902"]
    for option in ("--log", "--outputs"):
        (tmp_path / "x.parquet").mkdir(exist_ok=True)
        for path in (tmp_path / "x.parquet", tmp_path / "none" / "x.parquet"):
            problems = refused("run", bundle, "--events", tmp_path / "none", option, path, within=tmp_path)
            assert [problem.code for problem in problems] == ["SL0902"]


def test_a_folder_that_comes_while_it_works(
    workshop: Workshop, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikeloom.cli.run.require_writable", lambda path: None)
    (tmp_path / "counts.parquet").mkdir()
    (tmp_path / "counts.parquet" / "notes.txt").write_text("precious")
    args = ("run", bundle, "--events", workshop.test, "--log", tmp_path / "counts.parquet")
    assert [problem.code for problem in refused(*args, within=tmp_path)] == ["SL0902"]


@pytest.mark.parametrize(
    ("command", "option", "name", "wanted"),
    [
        ("run", "--log", "counts.csv", ".spikelog or .parquet"),
        ("run", "--outputs", "evidence.json", ".parquet"),
        ("log", "--counts", "counts.csv", ".parquet"),
        ("log", "--sonata", "spikes.nwb", ".h5"),
        ("log", "--trace", "trace.txt", ".json"),
    ],
)
def test_a_name_of_another_format(
    command: str, option: str, name: str, wanted: str, bundle: Path, tmp_path: Path
) -> None:
    """Told before anything is read: a .csv with Parquet in it helps nobody."""
    [problem] = refused(command, bundle, option, tmp_path / name, within=tmp_path)
    assert (problem.code, problem.where, problem.got) == ("SL0901", option, str(tmp_path / name))
    assert wanted in problem.wanted


def test_steps_that_the_recipe_says_otherwise(workshop: Workshop, tmp_path: Path) -> None:
    [problem] = refused(*workshop.compile(tmp_path / "x.loom", "--steps", 7), within=tmp_path)
    assert (problem.code, problem.where, problem.wanted, problem.got) == ("SL0901", "--steps", "4", "7")


def test_two_outputs_of_one_name(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    args = ("run", bundle, "--events", workshop.test, "--log", path, "--outputs", path)
    [problem] = refused(*args, within=tmp_path)
    assert problem.code == "SL0902"


def test_a_full_disk(
    workshop: Workshop, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_flush_one", full)
    log = tmp_path / "x.parquet"
    [problem] = refused("run", bundle, "--events", workshop.test, "--log", log, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0902", str(log))
    assert "No space left on device" in problem.what


def test_an_interrupt_while_the_bundle_is_written(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "_flush_one", interrupted)
    before = tree(tmp_path)
    answer = spikeloom(*workshop.compile(tmp_path / "x.loom"), expect=130)
    assert answer.err == "interrupted\n"
    assert tree(tmp_path) == before


def test_a_fault_of_our_own(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a [bold]fault[/] of [/oops]")

    monkeypatch.setattr("spikeloom.cli.verify.compare_engines", broken)
    [problem] = refused("verify", bundle, status=1, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0903", "ZeroDivisionError")
    assert problem.what == "a [bold]fault[/] of [/oops]"
    assert "report" in problem.remedy
    monkeypatch.setenv("SPIKELOOM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        spikeloom("verify", bundle)


def test_a_bundle_needs_a_name_unless_none_is_written(workshop: Workshop, tmp_path: Path) -> None:
    args = workshop.compile(tmp_path / "x.loom")
    at = args.index("-o")
    unnamed = [*args[:at], *args[at + 2 :]]
    [problem] = refused(*unnamed, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--output")
    spikeloom(*unnamed, "--stop-after", "capture", expect=0)
