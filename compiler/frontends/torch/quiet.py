"""PyTorch's log lines, kept off the user's terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_torch() -> Iterator[None]:
    """While this is open, PyTorch logs nothing below a critical error, nor what an export leaves out.

    Its lines are for its developers: that Triton is missing, or the stack of an operation whose
    failure is raised as an exception anyway. A model may note losses in attributes as it runs.
    """
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            yield
    finally:
        logger.setLevel(level)
