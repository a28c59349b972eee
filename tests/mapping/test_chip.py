from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom.compiler.mapping.chip import Chip, Encoding, read_description
from spikeloom.errors import InputError


def test_chip_survives_json(toy: Callable[..., Chip]) -> None:
    chip = toy().with_chips(5)
    assert Chip.from_json(json.loads(json.dumps(chip.to_json()))) == chip


def test_routers_copy_messages_where_the_description_says_so(
    tmp_path: Path, toy: Callable[..., Chip], describe: Callable[..., str]
) -> None:
    assert not toy().mesh.multicast
    assert not toy(multicast=0).mesh.multicast
    chip = toy(multicast=1).with_chips(3)
    assert chip.mesh.multicast
    assert Chip.from_json(json.loads(json.dumps(chip.to_json()))) == chip
    path = tmp_path / "toy.toml"
    path.write_text(describe(multicast=2))
    with pytest.raises(InputError, match=r"mesh\.multicast is neither 0 nor 1"):
        read_description(path)


def test_all_faults_of_a_description_are_listed(tmp_path: Path, describe: Callable[..., str]) -> None:
    text = describe(neurons=0, dragons=3).replace("[mesh.rows]", "[mesh.height]")
    text = text.replace('[mesh.columns]\nvalue = 4\nunit = "1"', "[mesh.columns]\nvalue = 4")
    text = text.replace("[limits.axons_in]\nvalue = 90", "[limits.axons_in]\nvalue = 90.5")
    before, after = text.split("[limits.axons_out]")
    text = before + "[limits.axons_out]" + after.replace("assumed", "heard", 1)
    path = tmp_path / "toy.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_description(path)
    assert {problem.code for problem in caught.value.problems} == {"SL0604"}
    listed = str(caught.value)
    for fault in (
        "mesh.columns: is not a figure",
        "limits.axons_out: is not a figure",
        "mesh.rows is missing",
        "limits.neurons is missing",
        "limits.dragons is not a limit",
        "limits.axons_in is not a whole number",
    ):
        assert fault in listed
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize("text", ["name = ", "name = 3", "", "\x00", 'name = "x"\nboards = 3', "limits = 1"])
def test_broken_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match="SL0604"):
        read_description(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_description(tmp_path / "none.toml")


def test_a_chip_of_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="SL0703"):
        Chip.from_json({"name": "toy", "chips": 1, "figures": {}})


def test_slots_have_places(toy: Callable[..., Chip]) -> None:
    chip = toy().with_chips(6)
    places = [chip.position(slot) for slot in range(chip.cores)]
    assert chip.routers == (12, 4)
    assert len({place[1:] for place in places}) == 6 * 8  # the 30 usable cores of a chip reach all 8 routers
    assert all(0 <= column < 12 and 0 <= row < 4 for _, column, row in places)
    assert places[0] == (0, 0, 0)
    assert places[30 * 5] == (5, 8, 2)  # the sixth chip is the third of the second row of chips
    assert toy().with_chips(12).routers == (16, 6)


def test_boards_bound_the_number_of_chips(toy: Callable[..., Chip]) -> None:
    assert toy().with_chips(12).cores == 360
    with pytest.raises(InputError, match="1 to 12"):
        toy().with_chips(13)
    with pytest.raises(InputError, match="1 to 12"):
        toy().with_chips(0)


def test_rows_fill_whole_words() -> None:
    encoding = Encoding(word_bits=64, header_bits=10, index_bits=6, row_weights=64)
    assert encoding.row_words(0, 8, False) == 0
    assert encoding.row_words(6, 8, False) == 1  # 48 + 10 bits
    assert encoding.row_words(7, 8, False) == 2
    assert encoding.row_words(4, 8, True) == 2  # an index each
    assert encoding.row_words(70, 8, False) == 9 + 1  # runs of 64 and 6
