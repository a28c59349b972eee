"""A bundle comes back as it was written, byte for byte the same each time, or it is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load as safetensors_load

from spikeloom.compiler.bundle import (
    FORMAT,
    MANIFEST,
    SEAL_LENGTH,
    graph_members,
    json_member,
    read_bundle,
    require_free,
    tensor_member,
    write_bundle,
)
from spikeloom.compiler.graph.printer import to_text
from spikeloom.errors import InputError
from tests.tiny_network import tiny_network

ABOUT = {"name": "tiny", "options": {"bits": 8}}
MEMBERS: dict[str, bytes] = {
    **graph_members(tiny_network()),
    "recipe.json": json_member({"steps": 5}),
    "onnx/step.onnx": b"\x00\x01\x02",
    "empty": b"",
}
SEAL = hashlib.sha256


@pytest.fixture
def loom(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.loom"
    write_bundle(path, MEMBERS, ABOUT)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    write_bundle(path, MEMBERS, ABOUT)
    return path


# --- what is written is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tiny.loom", "tiny"])
def test_a_bundle_comes_back_as_it_was(form: str, tmp_path: Path) -> None:
    written = write_bundle(tmp_path / form, MEMBERS, ABOUT)
    read = read_bundle(tmp_path / form)
    assert read.members == written.members == MEMBERS
    assert read.manifest == written.manifest
    assert read.manifest["options"] == {"bits": 8}
    assert read.manifest["format"] == FORMAT
    assert to_text(read.graph) == to_text(tiny_network())
    assert read.json("recipe.json") == {"steps": 5}
    assert sorted(path.name for path in tmp_path.iterdir()) == [form]


def test_the_bytes_depend_on_nothing_but_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first.loom", tmp_path / "second.loom"
    write_bundle(first, MEMBERS, ABOUT)
    os.utime(first, (0, 0))
    write_bundle(second, dict(reversed(MEMBERS.items())), dict(reversed(ABOUT.items())))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    again = graph_members(read_bundle(first).graph)
    assert again == graph_members(tiny_network())


def test_another_process_writes_the_same_bytes(loom: Path, tmp_path: Path) -> None:
    """With another seed of Python's hashes, so that no set or dictionary order is in them."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from tests.bundle.test_bundle import ABOUT, MEMBERS, write_bundle
        write_bundle(Path(sys.argv[1]), MEMBERS, ABOUT)
    """)
    other = tmp_path / "other.loom"
    _python(script, str(other), PYTHONHASHSEED="77")
    assert other.read_bytes() == loom.read_bytes()


def _python(script: str, *arguments: str, **environment: str) -> str:
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tensors_and_json_members(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {"b": np.arange(3, dtype=np.uint8), "a": np.ones((2, 2))}
    bundle = write_bundle(tmp_path / "a.loom", {"t": tensor_member(tensors), "j": b"{"}, {})
    assert bundle.tensors("t")["b"].tolist() == [0, 1, 2]
    assert tensor_member(tensors) == tensor_member(dict(reversed(tensors.items())))
    for read in (lambda: bundle.tensors("j"), lambda: bundle.json("j"), lambda: bundle.json("no")):
        with pytest.raises(InputError, match="SL0703"):
            read()
    with pytest.raises(InputError, match=r"SL0703 .*graph\.json"):
        _ = bundle.graph


def test_views_are_written_as_what_they_show() -> None:
    """A slice, a transposed and a repeated array, and a number: not the memory that they look at."""
    whole = np.arange(24).reshape(2, 3, 4)
    views = {
        "cut": whole[:, :1],
        "turned": whole.T,
        "again": np.broadcast_to(whole[0, 0], (5, 4)),
        "one": np.array(7),
    }
    read = safetensors_load(tensor_member(views))
    for name, view in views.items():
        np.testing.assert_array_equal(read[name], view)
        assert read[name].shape == view.shape


def test_numbers_that_are_not_finite_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_member({"a": float("nan")})


# --- damage ----------------------------------------------------------------------------------------------


def _code(path: Path) -> str:
    """The code with which a bundle is refused, or "" if it is read."""
    try:
        read_bundle(path)
    except InputError as error:
        return error.problems[0].code
    return ""


def test_every_changed_byte_is_found(loom: Path, tmp_path: Path) -> None:
    whole, path = loom.read_bytes(), tmp_path / "changed.loom"
    missed = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        if _code(path) != "SL0702":
            missed.append(place)
    assert not missed


@pytest.mark.parametrize("member", [MANIFEST, *MEMBERS])
def test_every_changed_byte_of_a_folder_is_found(member: str, folder: Path) -> None:
    path = folder / member
    whole = path.read_bytes()
    missed = []
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        if _code(folder) != "SL0702":
            missed.append(place)
    path.write_bytes(whole + b" ")
    assert not missed
    assert _code(folder) == "SL0702"


def test_every_length_but_its_own_is_refused(loom: Path, tmp_path: Path) -> None:
    whole, path = loom.read_bytes(), tmp_path / "cut.loom"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert _code(path) == "SL0702", length
    for tail in (b"\0", whole):
        path.write_bytes(whole + tail)
        assert _code(path) == "SL0702"


def _resealed(body: bytes) -> bytes:
    """With a good seal, as somebody who changes a bundle on purpose would write it."""
    return body + SEAL(body).hexdigest().encode()


def test_a_byte_that_is_changed_on_purpose_is_refused_or_harmless(loom: Path, tmp_path: Path) -> None:
    """The seal is made good: what the readers of zip and JSON meet then must not be another exception."""
    whole, path = loom.read_bytes()[:-SEAL_LENGTH], tmp_path / "sealed.loom"
    random = np.random.default_rng(0)
    read = 0
    places = range(0, len(whole), 3)
    for place in places:
        changed = bytearray(whole)
        changed[place] = random.integers(256)
        path.write_bytes(_resealed(bytes(changed)))
        if _code(path) == "":  # a time stamp, a version of the zip, the byte that was there before
            read += 1
            assert read_bundle(path).members == MEMBERS
    assert 0 < read < len(places) / 4


# --- members ---------------------------------------------------------------------------------------------


def _zipped(content: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content:
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.comment = b"0" * SEAL_LENGTH
    return _resealed(buffer.getvalue()[:-SEAL_LENGTH])


def _manifest(members: Mapping[str, bytes], **changes: Any) -> bytes:
    entries = {name: {"size": len(data), "sha256": SEAL(data).hexdigest()} for name, data in members.items()}
    unsealed = {"format": FORMAT, "members": entries, **changes}
    return json_member({**unsealed, "seal": SEAL(json_member(unsealed)).hexdigest()})


def _refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_bundle(path)
    assert caught.value.exit_status == 4
    return str(caught.value)


def test_what_the_tests_below_forge_is_accepted_when_it_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "forged.loom"
    path.write_bytes(_zipped([(MANIFEST, _manifest(MEMBERS)), *MEMBERS.items()]))
    assert read_bundle(path).members == MEMBERS


def test_a_member_that_is_missing_or_foreign(tmp_path: Path) -> None:
    path = tmp_path / "forged.loom"
    entries = list(MEMBERS.items())
    for content in (entries[1:], [*entries, ("extra", b"")], [*entries[1:], ("extra", b"")]):
        text = _refused(path, _zipped([(MANIFEST, _manifest(MEMBERS)), *content]))
        assert text.startswith(f"SL0702 {path}: has other members than its manifest")


def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    twice = [(MANIFEST, _manifest(MEMBERS)), *MEMBERS.items()]
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = _zipped([*twice, ("empty", b"")])
    assert "two members of one name" in _refused(tmp_path / "forged.loom", content)
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = _zipped([*twice, twice[0]])
    assert "two members of one name" in _refused(tmp_path / "forged.loom", content)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "onnx/../../outside", ".."])
def test_a_member_outside_of_the_bundle(name: str, tmp_path: Path) -> None:
    members = {**MEMBERS, name: b"x"}
    content = _zipped([(MANIFEST, _manifest(members)), *members.items()])
    assert "SL0702" in _refused(tmp_path / "forged.loom", content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forged.loom"]


def test_a_member_of_another_size_or_hash(tmp_path: Path) -> None:
    path = tmp_path / "forged.loom"
    for other in (b"{}", MEMBERS["recipe.json"][:-1] + b" "):
        content = {**MEMBERS, "recipe.json": other}
        text = _refused(path, _zipped([(MANIFEST, _manifest(MEMBERS)), *content.items()]))
        assert "recipe.json was changed after it was written" in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: data.replace(b'"format"', b'"formal"'),
        lambda data: data.replace(b'"seal"', b'"sealing"'),
        lambda data: data.replace(b'"size": 3', b'"size": 4'),
        lambda data: data + b" ",
        lambda data: b"[]",
        lambda data: b"[" * 100_000,
        lambda data: b"\xff\xfe",
        lambda data: b'{"format": 1, "members": {"a": {"size": "x", "sha256": 3}}}',
        lambda data: b'{"format": 1, "members": []}',
    ],
)
def test_a_damaged_manifest(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    content = _zipped([(MANIFEST, damage(_manifest(MEMBERS))), *MEMBERS.items()])
    assert "manifest" in _refused(tmp_path / "forged.loom", content)
    path = tmp_path / "folder"
    write_bundle(path, MEMBERS, ABOUT)
    (path / MANIFEST).write_bytes(damage((path / MANIFEST).read_bytes()))
    assert _code(path) == "SL0702"


@pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None])
def test_another_version_of_the_format(version: Any, tmp_path: Path) -> None:
    content = _zipped([(MANIFEST, _manifest(MEMBERS, format=version)), *MEMBERS.items()])
    text = _refused(tmp_path / "forged.loom", content)
    assert text.startswith("SL0703")
    assert f"wanted format {FORMAT} of Spikeloom" in text


def test_a_sealed_zip_without_a_manifest(tmp_path: Path) -> None:
    text = _refused(tmp_path / "forged.loom", _zipped([("readme", b"")]))
    assert text.startswith("SL0701")
    assert "has no manifest.json" in text


def test_a_zip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.compiler.bundle.LARGEST_BUNDLE", 1000)
    content = _zipped([(MANIFEST, _manifest({})), ("zeros", bytes(1000))])
    assert "unpacks to too much" in _refused(tmp_path / "forged.loom", content)


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(64), b"PK\x05\x06" + bytes(18), bytes(range(256)) * 9], ids=len
)
def test_files_that_are_no_bundles(content: bytes, tmp_path: Path) -> None:
    code = "SL0701" if content else "SL0702"  # nothing at all is what is left of a copy that failed
    assert _refused(tmp_path / "no.loom", content).startswith(code)
    assert _refused(tmp_path / "no.loom", _resealed(content)).startswith(("SL0701", "SL0702"))


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    for name in ("no.loom", "no", "x" * 300):
        assert _code(tmp_path / name) == "SL0701"


# --- folders ---------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_bundle_is_not_read_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    assert _code(tmp_path) == "SL0701"


@pytest.mark.parametrize("member", [MANIFEST, "recipe.json", "onnx"])
def test_a_link_in_a_folder(member: str, folder: Path, tmp_path: Path) -> None:
    """Even to what would be right."""
    moved = tmp_path / "moved"
    shutil.move(folder / member, moved)
    (folder / member).symlink_to(moved)
    with pytest.raises(InputError, match=r"SL0702 .*is a link"):
        read_bundle(folder)


def test_a_pipe_in_a_folder(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match=r"SL0702 .*pipe: is a link or not a plain file"):
        read_bundle(folder)


def test_a_member_that_is_missing_or_foreign_in_a_folder(folder: Path) -> None:
    (folder / "extra").write_bytes(b"")
    assert _code(folder) == "SL0702"
    (folder / "extra").unlink()
    assert _code(folder) == ""
    (folder / "empty").unlink()
    assert _code(folder) == "SL0702"


# --- where it is written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no/tiny.loom", "no/tiny"])
def test_a_folder_to_write_in_must_exist(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SL0902"):
        write_bundle(tmp_path / name, MEMBERS, ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [{"notes.txt": "mine"}, {MANIFEST: '{"manifest_version": 3}'}, {MANIFEST: "[1]"}, {MANIFEST: "{"}],
    ids=str,
)
def test_a_folder_of_something_else_is_left_alone(content: dict[str, str], tmp_path: Path) -> None:
    """Also one with a manifest.json, as extensions of browsers have."""
    path = tmp_path / "work"
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    for attempt in (lambda: write_bundle(path, MEMBERS, ABOUT), lambda: require_free(path)):
        with pytest.raises(InputError, match=r"SL0902 .*is a folder, and what it holds is no bundle"):
            attempt()
    assert {file.name: file.read_text() for file in path.iterdir()} == content


def test_a_file_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    """A bundle whose name does not end in .loom is a folder: `-o model.pt` must not put one in its place."""
    path = tmp_path / "model.pt"
    path.write_text("weights")
    for attempt in (lambda: write_bundle(path, MEMBERS, ABOUT), lambda: require_free(path)):
        with pytest.raises(InputError, match=r"SL0902 .*is a file, and a bundle of that name is a folder"):
            attempt()
    assert path.read_text() == "weights"


def test_an_empty_folder_and_an_old_bundle_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    write_bundle(path, MEMBERS, ABOUT)
    (path / "recipe.json").write_bytes(b"damaged")
    write_bundle(path, {"only": b"1"}, ABOUT)
    assert read_bundle(path).members == {"only": b"1"}
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_a_file_is_replaced(loom: Path) -> None:
    write_bundle(loom, {"only": b"1"}, ABOUT)
    assert read_bundle(loom).members == {"only": b"1"}


KILLED = textwrap.dedent("""
    import os, random, signal, sys, time
    from pathlib import Path
    from spikeloom.compiler.bundle import read_bundle, write_bundle
    from spikeloom.errors import InputError

    path = Path(sys.argv[1])
    contents = [{"a": b"old" * 5000, "b": b""}, {"a": b"new" * 5000, "c/d": b"1"}]
    random.seed(0)
    write_bundle(path, contents[0], {})
    for attempt in range(30):
        writer = os.fork()
        if writer == 0:
            while True:
                for content in contents[::-1] if attempt % 2 else contents:
                    write_bundle(path, content, {})
        time.sleep(random.uniform(0, 0.06))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        try:
            found = contents.index(read_bundle(path).members)
        except InputError as error:
            found = error.problems[0].what
        print(found)
""")


@pytest.mark.parametrize("name", ["tiny.loom", "tiny"])
def test_a_writer_that_is_killed_leaves_the_old_bundle_or_the_new(name: str, tmp_path: Path) -> None:
    found = _python(KILLED, str(tmp_path / name)).splitlines()
    assert len(found) == 30
    allowed = {"0", "1"}
    if name == "tiny":  # of a folder, for a moment there is neither: the old one has been moved aside
        allowed.add("there is no such bundle")
    assert set(found) <= allowed
    assert {"0", "1"} <= set(found)


def test_the_manifest_is_readable(loom: Path) -> None:
    with zipfile.ZipFile(loom) as archive:
        manifest = json.loads(archive.read(MANIFEST))
    assert manifest["members"]["empty"] == {"sha256": SEAL(b"").hexdigest(), "size": 0}
    assert set(manifest) == {"format", "members", "name", "options", "seal"}
