"""Tokens that come one after the other: from an .npy file, or as numbers on standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.events.samples.arrays import read_arrays
from spikeloom.runtime.events.token_recipe import TokenRecipe

PIPE = "stdin:tokens"
_WORD = re.compile(rb"(\S+)\s")
_READ_BYTES = 65536
_LONGEST_WORD = 20


def read_tokens(source: str, recipe: TokenRecipe, first: int = 0) -> Iterator[Array]:
    """The tokens of each time step, [...] of the recipe's shape.

    Args:
        source: an .npy file of [steps, ...], or «stdin:tokens»: whole numbers with white space between them.
        recipe: which tokens there are.
        first: steps of a file that are passed over.

    Raises:
        InputError: SL0111, the shape is not that of a stream; SL0121, something else than a token.
    """
    if source == PIPE:
        yield from tokens_of(sys.stdin.buffer, recipe)
        return
    x, _ = read_arrays(Path(source))
    if x.shape[1:] != recipe.shape:
        wanted = str(["steps", *recipe.shape]).replace("'", "")
        raise InputError.of("SL0111", source, "is no stream of tokens", wanted=wanted, got=list(x.shape))
    yield from recipe.encode(x, source)[first:]


def tokens_of(pipe: BinaryIO, recipe: TokenRecipe) -> Iterator[Array]:
    r"""The tokens of a pipe, each as soon as white space ends it; in constant memory.

    Raises:
        InputError: SL0111, a step of the network takes several tokens; SL0121, a word is no token.

    >>> import io
    >>> recipe = TokenRecipe(shape=(), steps=4, vocabulary=50277)
    >>> [int(token) for token in tokens_of(io.BytesIO(b"11 50276\n7"), recipe)]
    [11, 50276, 7]
    """
    if recipe.shape:
        what = "the network takes several tokens a step"
        raise InputError.of("SL0111", PIPE, what, got=list(recipe.shape), remedy="name an .npy file")
    for count, word in enumerate(_words(pipe), 1):
        yield _token(word, f"{PIPE}, word {count}", recipe)


def _words(pipe: BinaryIO) -> Iterator[bytes]:
    """What stands between white space; of a word that is too long to be a token, its beginning."""
    begun = b""
    while piece := _read(pipe):
        begun += piece
        end = 0
        for match in _WORD.finditer(begun):
            yield match[1]
            end = match.end()
        begun = begun[end:].lstrip()
        if len(begun) > _LONGEST_WORD:
            break
    if begun:
        yield begun


def _read(pipe: BinaryIO) -> bytes:
    """What has come so far; a pipe that a program feeds word by word is not waited for."""
    read = getattr(pipe, "read1", pipe.read)
    piece: bytes = read(_READ_BYTES)
    return piece


def _token(word: bytes, where: str, recipe: TokenRecipe) -> Array:
    if not re.fullmatch(rb"[0-9]{1,18}", word):
        got = repr(word[:_LONGEST_WORD].decode("utf-8", "replace"))
        wanted = f"whole numbers from 0 to {recipe.max_value:,}"
        raise InputError.of("SL0121", where, "is no token", wanted=wanted, got=got)
    return recipe.encode(np.array(int(word)), where)
