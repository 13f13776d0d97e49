"""Where a block of text may begin: at sentences; where there are too few of them, at lines; else anywhere.

Code, verse, logs and lists have few sentences or none, a sequence of bases has not even lines.  A block that begins anywhere is measured all the same;
:func:`openings_note` says how many do.
"""

from __future__ import annotations

import numpy as np


def openings(sentences: np.ndarray, lines: np.ndarray, room: int, enough: int) -> np.ndarray:
    """Positions (n,) below ``room`` at which a block may begin, ascending, int64: sentences if there are ``enough``, else also lines, else any.

    ``sentences`` and ``lines`` are ascending positions.

    >>> sentences, lines = np.array([0, 40]), np.arange(0, 50, 10)
    >>> [openings(sentences, lines, 41, enough).tolist() for enough in (2, 3)], len(openings(sentences, lines, 41, 6))
    ([[0, 40], [0, 10, 20, 30, 40]], 41)
    """
    positions = sentences[sentences < room]
    if len(positions) < enough:
        positions = np.union1d(positions, lines[lines < room])
    return np.asarray(positions if len(positions) >= enough else np.arange(room), dtype=np.int64)


def openings_note(at_sentence: np.ndarray, at_line: np.ndarray) -> str:
    """What to say of blocks that do not all begin at a sentence; empty when they do.  Both arguments are (n,) of bool.

    >>> openings_note(np.array([True, False, False, False]), np.array([True, True, False, False]))
    '1 of 4 blocks begin at a sentence, 1 at a line, 2 anywhere: their documents have fewer sentence starts than blocks'
    """
    if at_sentence.all():
        return ""
    lines, anywhere = (at_line & ~at_sentence).sum(), (~at_line & ~at_sentence).sum()
    at_lines = f", {lines} at a line" if lines else ""
    at_any = f", {anywhere} anywhere" if anywhere else ""
    return f"{at_sentence.sum()} of {len(at_sentence)} blocks begin at a sentence{at_lines}{at_any}: their documents have fewer sentence starts than blocks"
