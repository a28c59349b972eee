"""PyTorch's log lines, kept off the user's terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_torch() -> Iterator[None]:
    """While this is open, PyTorch logs nothing below a critical error.

    Its lines are for its developers: that Triton is missing, or the stack of an operation whose
    failure is raised as an exception anyway.
    """
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
