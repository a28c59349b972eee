"""Functions of the user's own files: found, or refused with what would have been right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spikeloom.errors import InputError
from spikeloom.factories import load_factory


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text("import beside\nWIDTH = 3\ndef build():\n    return beside.VALUE\ndef other(): ...\n")
    (tmp_path / "beside.py").write_text("VALUE = 42\n")
    return path


@pytest.fixture(autouse=True)
def _clean() -> object:
    """Take back what loading put into the interpreter."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_and_its_module(model: Path) -> None:
    path = list(sys.path)
    build, module = load_factory(f"{model}:build")
    assert build() == 42
    assert module.WIDTH == 3
    assert sys.path == path


def test_relative_paths(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert load_factory("model.py:build")[0]() == 42


def test_a_class_of_the_file_can_be_pickled_and_typed(tmp_path: Path) -> None:
    """Its module is known, as dataclasses and typing need it."""
    (tmp_path / "m.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Config:\n    width: int = 3\ndef build():\n    return Config()\n"
    )
    build, module = load_factory(f"{tmp_path / 'm.py'}:build")
    assert sys.modules[type(build()).__module__] is module


def test_a_file_in_a_package_is_imported_as_a_part_of_it(tmp_path: Path) -> None:
    package = tmp_path / "models_of_theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("VALUE = 7\n")
    (package / "net.py").write_text("from .layers import VALUE\ndef build():\n    return VALUE\n")
    assert load_factory(f"{package}/net.py:build")[0]() == 7


def test_two_repositories_with_the_same_names_do_not_meet(tmp_path: Path) -> None:
    for number in (1, 2):
        repo = tmp_path / f"repo{number}"
        (repo / "sub").mkdir(parents=True)
        (repo / "shared_name.py").write_text(f"VALUE = {number}\n")
        (repo / "sub/net.py").write_text("import shared_name\ndef build():\n    return shared_name.VALUE\n")
        before, path = set(sys.modules), list(sys.path)
        build, _ = load_factory(f"{repo}/sub/net.py:build", repo)
        assert build() == number
        assert sys.path == path
        assert "shared_name" not in set(sys.modules) - before


def test_a_repository_that_is_not_there(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        load_factory(f"{model}:build", tmp_path / "none")


def _refused(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_factory(spec)
    (problem,) = caught.value.problems
    assert problem.code == "SL0201"
    return str(problem)


@pytest.mark.parametrize(
    "spec", ["", "model.py", "model.py:", ":build", "model:build", "model.py:not a name"]
)
def test_what_names_no_function(spec: str) -> None:
    assert "FILE.py:function" in _refused(spec)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in _refused(f"{tmp_path / 'no.py'}:build")
    (tmp_path / "folder.py").mkdir()
    assert "there is no such file" in _refused(f"{tmp_path / 'folder.py'}:build")


def test_a_missing_function_names_those_that_there_are(model: Path) -> None:
    for name in ("built", "WIDTH"):
        assert f"has no function {name} (wanted build or other)" in _refused(f"{model}:{name}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def build(:", "SyntaxError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_fails_to_import(text: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(text)
    path = list(sys.path)
    assert f"fails to import: {shown}" in _refused(f"{tmp_path / 'm.py'}:build")
    assert sys.path == path
    assert "spikeloom_user_m" not in sys.modules


def test_a_file_that_changes_the_import_path(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import sys\nsys.path.clear()\ndef build(): ...\n")
    path = list(sys.path)
    try:
        load_factory(f"{tmp_path / 'm.py'}:build")
    finally:
        sys.path[:] = path


def test_an_environment_beside_the_model_stays_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules may not be loaded twice; those of the user's own are forgotten."""
    installed = tmp_path / ".venv"
    installed.mkdir()
    (installed / "a_library_there.py").write_text("x = 1\n")
    (tmp_path / "a_part_here.py").write_text("y = 2\n")
    (tmp_path / "model.py").write_text(
        "import a_library_there, a_part_here\ndef build():\n    return a_library_there.x + a_part_here.y\n"
    )
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr("sysconfig.get_path", lambda kind: str(installed))
    assert load_factory(f"{tmp_path}/model.py:build")[0]() == 3
    assert "a_library_there" in sys.modules
    assert "a_part_here" not in sys.modules
    monkeypatch.delitem(sys.modules, "a_library_there")
