"""What training raises, and memory that did not suffice as one such error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from l2m_utils.memory import out_of_memory


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says where, and what to do."""


class Preempted(TrainingError):
    """Training ended because the scheduler said so, and can go on: a command ends with the status ``EX_TEMPFAIL`` of <sysexits.h>.

    >>> Preempted.exit_status
    75
    """

    exit_status = 75


@contextmanager
def memory_errors(where: str) -> Iterator[None]:
    """Turn memory that did not suffice into one :class:`TrainingError`: ``where`` it was, and which setting to lower.

    >>> with memory_errors("on cpu at step 1"):
    ...     raise MemoryError
    Traceback (most recent call last):
    ...
    l2m_utils.training.errors.TrainingError: out of memory on cpu at step 1: lower the sequences a step first, then the length; precision='bf16' halves the activations
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, TrainingError) or not out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory {where}: lower the sequences a step first, then the length; precision='bf16' halves the activations"
        ) from error
