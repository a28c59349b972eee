"""Bundles that are not intact are refused before anything of them is used."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom import __version__
from tests.cli.conftest import Workshop
from tests.cli.terminal import refused, spikeloom


@pytest.fixture(scope="module")
def folder(workshop: Workshop, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a folder."""
    path = tmp_path_factory.mktemp("folder") / "tiny"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(path)
    return path


def test_the_folder_is_a_bundle(folder: Path) -> None:
    assert spikeloom("inspect", folder, "--json").json["target"] == "loihi2"


@pytest.mark.parametrize("place", [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0])
def test_one_changed_byte(place: float, bundle: Path, tmp_path: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[round(place * (len(content) - 1))] ^= 0x10
    path = tmp_path / "changed.loom"
    path.write_bytes(content)
    for command in (("verify",), ("inspect",)):
        [problem] = refused(*command, path, within=tmp_path)
        assert (problem.code, problem.where) == ("SL0702", str(path))
        assert problem.remedy == "compile it again"


@pytest.mark.parametrize(
    "member", ["manifest.json", "graph.json", "weights.safetensors", "onnx/step.onnx", "mapping.json"]
)
def test_one_changed_byte_in_a_folder(member: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny"
    shutil.copytree(folder, path)
    content = bytearray((path / member).read_bytes())
    content[len(content) // 2] ^= 0x10
    (path / member).write_bytes(content)
    [problem] = refused("verify", path, within=tmp_path)
    assert problem.code == "SL0702"
    assert member.partition(".")[0] in problem.what


def nothing(path: Path, whole: bytes) -> None:
    path.write_bytes(b"")


def half(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def a_byte_less(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[:-1])


def a_byte_more(path: Path, whole: bytes) -> None:
    path.write_bytes(whole + b"\n")


def text(path: Path, whole: bytes) -> None:
    path.write_text("no bundle, but a letter\n")


def another_zip(path: Path, whole: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")


@pytest.mark.parametrize("content", [nothing, half, a_byte_less, a_byte_more, text, another_zip])
def test_files_that_are_no_bundle(
    content: Callable[[Path, bytes], None], bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.loom"
    content(path, bundle.read_bytes())
    [problem] = refused("run", path, "--events", tmp_path, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0701" if content is text else "SL0702", str(path))
    assert "not a bundle" in problem.what


def test_folders_that_are_no_bundle(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [problem] = refused("inspect", tmp_path / "empty", within=tmp_path)
    assert problem.code == "SL0701"
    shutil.copytree(folder, tmp_path / "less")
    (tmp_path / "less" / "graph.json").unlink()
    [problem] = refused("inspect", tmp_path / "less", within=tmp_path)
    assert problem.code == "SL0702"
    assert "graph.json" in problem.wanted
    shutil.copytree(folder, tmp_path / "more")
    (tmp_path / "more" / "run.py").write_text("print('hello')")
    [problem] = refused("inspect", tmp_path / "more", within=tmp_path)
    assert problem.code == "SL0702"
    assert "run.py" in problem.got


@pytest.mark.parametrize("command", ["run", "verify", "estimate", "inspect", "bench"])
def test_a_bundle_that_is_not_there(command: str, tmp_path: Path) -> None:
    [problem] = refused(command, tmp_path / "x.loom", within=tmp_path)
    assert (problem.code, problem.where) == ("SL0701", str(tmp_path / "x.loom"))


def test_a_bundle_of_another_version(folder: Path, tmp_path: Path) -> None:
    from spikeloom.compiler.bundle import _sealed, json_member

    path = tmp_path / "tiny"
    shutil.copytree(folder, path)
    manifest = json.loads((path / "manifest.json").read_text()) | {"format": 99}
    (path / "manifest.json").write_bytes(json_member(_sealed(manifest)))
    [problem] = refused("inspect", path, within=tmp_path)
    assert problem.code == "SL0703"
    assert problem.wanted == f"format 1 of Spikeloom {__version__}"
    assert problem.got == f"format 99 of Spikeloom {__version__}"
    assert "compile the model again" in problem.remedy
