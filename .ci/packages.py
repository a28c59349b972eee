"""Check the packages: python .ci/packages.py TREE WHEEL_FROM_SDIST WHEEL_FROM_TREE SDIST.

Both wheels hold the same bytes: every file of the package's folders in TREE, and nothing at a bare name.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

PLACES = {"compiler": "compiler", "runtime": "runtime", "targets": "targets", "": "src/spikeloom"}


def contents(wheel: str) -> dict[str, bytes]:
    """Each member of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def expected(tree: Path) -> set[str]:
    """What a wheel must hold under spikeloom/: all modules, and the data beside them."""
    wanted = set()
    for place, folder in PLACES.items():
        for path in (tree / folder).rglob("*"):  # does not follow the links in src/spikeloom
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(tree / folder).as_posix()
                wanted.add("/".join(part for part in ("spikeloom", place, inside) if part))
    return wanted


def main(tree: str, from_sdist: str, from_tree: str, sdist: str) -> None:
    """Compare; exit with a message on the first difference."""
    one, two = contents(from_sdist), contents(from_tree)
    if one != two:
        different = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
        sys.exit(f"wheel and sdist→wheel differ in {sorted(different)}")
    shipped = {name for name in one if ".dist-info/" not in name}
    wanted = expected(Path(tree))
    if shipped != wanted:
        sys.exit(f"the wheel lacks {sorted(wanted - shipped)}, or has too much: {sorted(shipped - wanted)}")
    with tarfile.open(sdist) as archive:
        size = len(archive.getnames())
    print(f"{Path(from_sdist).name}: {len(shipped)} files, from the tree as from the sdist of {size} members")


if __name__ == "__main__":
    main(*sys.argv[1:])
