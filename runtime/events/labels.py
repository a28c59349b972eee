"""Labels of recordings: a table of tab-separated values with the header ``file<TAB>label``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spikeloom.errors import InputError, Problem, counted

FOLDERS = "folders"
"""Instead of a table: the folder that a recording lies in says its class."""

_HEADER = ["file", "label"]
_SHOWN = 3


def read_labels(path: Path | str) -> dict[Path, int]:
    r"""The labels in a table, by the resolved path of the recording.

    The ``file`` column is relative to the folder of the table; a label is a whole number from 0.

    Raises:
        InputError: SL0120, the table cannot be read, or all its malformed and repeated lines at once.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels.tsv"
    ...     _ = path.write_text("file\tlabel\ntest/60001.bs2\t7\n")
    ...     {file.name: label for file, label in read_labels(path).items()}
    {'60001.bs2': 7}
    """
    path = Path(path)
    rows = _rows(path)
    if not rows or rows[0][1] != _HEADER:
        got = repr("\t".join(rows[0][1])) if rows else "an empty file"
        raise InputError.of("SL0120", path, "has no header", wanted=repr("\t".join(_HEADER)), got=got)
    labels: dict[Path, int] = {}
    malformed, repeated = [], []
    for line, cells in rows[1:]:
        if len(cells) != 2 or not cells[0] or not (cells[1].isascii() and cells[1].isdigit()):
            malformed.append(f"line {line}")
            continue
        file = (path.parent / cells[0]).resolve()
        if file in labels:
            repeated.append(f"{cells[0]} in line {line}")
        labels[file] = int(cells[1])
    problems = [
        *_listed(path, malformed, "malformed", "line", "a file, a tab and a whole number from 0"),
        *_listed(path, repeated, "named twice", "recording", "one line a recording"),
    ]
    if problems:
        raise InputError(problems)
    return labels


def labels_of(files: Sequence[Path], table: Path | str, folder: Path | None) -> list[int]:
    """The label of each recording; with ``folder``, all that the table names inside it must be there.

    The table :data:`FOLDERS` stands for none: each class has a folder of its own.

    Raises:
        InputError: SL0120, as :func:`read_labels`, or all recordings without a label and all labels
            without a recording.
    """
    if str(table) == FOLDERS:
        return labels_by_folder(files)
    labels = read_labels(table)
    resolved = [file.resolve() for file in files]
    unlabelled = [file.name for file in resolved if file not in labels]
    missing = sorted(set(_inside(labels, folder)) - set(resolved))
    problems = [
        *_listed(Path(table), unlabelled, "without a label", "recording", "one line a recording"),
        *_listed(Path(table), [file.name for file in missing], "labelled but not there", "recording"),
    ]
    if problems:
        raise InputError(problems)
    return [labels[file] for file in resolved]


def labels_by_folder(files: Sequence[Path]) -> list[int]:
    """The class of each recording by the name of its folder: the number, or else its place among the names.

    Raises:
        InputError: SL0120, all recordings lie in one folder whose name is no number.

    >>> labels_by_folder([Path("set/cat/1.raw"), Path("set/bird/2.raw"), Path("set/cat/3.raw")])
    [1, 0, 1]
    >>> labels_by_folder([Path("set/07/1.raw"), Path("set/3/2.raw")])
    [7, 3]
    """
    names = [file.parent.name for file in files]
    classes = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in classes):
        return [int(name) for name in names]
    if len(classes) == 1:
        what = "is the only folder, and no class"
        raise InputError.of("SL0120", files[0].parent, what, wanted="a folder for each class")
    return [classes.index(name) for name in names]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not blank: their number from 1, and their cells."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError.of("SL0120", path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError.of("SL0120", path, "is not UTF-8 text") from error
    return [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]


def _inside(labels: dict[Path, int], folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    root = folder.resolve()
    return [file for file in labels if file.is_relative_to(root)]


def _listed(path: Path, items: Sequence[str], what: str, noun: str, wanted: str = "") -> list[Problem]:
    """One problem that counts the items and names the first of them; none without items."""
    if not items:
        return []
    is_or_are = "is" if len(items) == 1 else "are"
    said = f"{counted(len(items), noun)} {is_or_are} {what}"
    more = ", ..." if len(items) > _SHOWN else ""
    return [Problem("SL0120", str(path), said, wanted, ", ".join(items[:_SHOWN]) + more)]
