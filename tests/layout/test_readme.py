"""The runner of the README's code blocks finds them, runs them, and notices when they are wrong."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = """\
Text.

```bash
echo one
```

<!-- ci: skip, needs a chip -->
```bash
exit 7
```

- a list
  ```console
  $ printf 'a  b\\nc\\n'
  a b
  ...
  ```

```python
x = 2
```
"""


@pytest.fixture(scope="module")
def readme(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_runner", root / ".ci" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_blocks_are_found(readme: ModuleType) -> None:
    found = readme.blocks(PAGE)
    assert [(block.language, block.line, block.skip) for block in found] == [
        ("bash", 3, ""),
        ("bash", 8, "needs a chip"),
        ("console", 13, ""),
        ("python", 19, ""),
    ]
    assert found[2].code.startswith("$ printf")


@pytest.mark.parametrize(
    ("language", "code", "fails"),
    [
        ("bash", "true\ntrue\n", False),
        ("bash", "false\ntrue\n", True),
        ("bash", "false | true\n", True),
        ("console", "$ echo 12 ms\n... ms\n", False),
        ("console", "$ echo 12 ms\n... s\n", True),
        ("console", "$ echo 1; false\n1\n", True),
        ("console", "$ echo a \\\n    b\na b\n$ echo c\nd\n", True),
        ("python", "y = x + 1\nassert y == 3\n", False),
        ("python", "assert x == 3\n", True),
        ("python", ">>> x\n2\n", False),
        ("python", ">>> x\n3\n", True),
    ],
)
def test_a_block_that_does_not_do_what_it_says_fails(
    readme: ModuleType, language: str, code: str, fails: bool
) -> None:
    block = readme.Block(language, code, 1, "")
    assert bool(readme.RUNNERS[language](block, {"x": 2})) is fails


def test_names_live_on_in_the_next_block(readme: ModuleType) -> None:
    names: dict[str, object] = {}
    for code in ("a = 1\n", ">>> b = a + 1\n>>> b\n2\n", "assert b == 2\n"):
        assert not readme.run_python(readme.Block("python", code, 1, ""), names)


def test_the_projects_own_readme_has_blocks_to_run(readme: ModuleType, root: Path) -> None:
    live = [block for block in readme.blocks((root / "README.md").read_text()) if not block.skip]
    assert {"bash", "console"} & {block.language for block in live}
