"""What a completions server answers, read with suspicion: log-probabilities of exactly the tokens that were sent, or nothing.

JSON from a server can be anything.  Every step into it is checked, and every number must be one that a softmax can give:
finite, not positive, not below its number format, and never one of the values that servers write in the place of what they
do not know (−9999 for −∞, −100, the logarithm of a small constant).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from l2m_utils.scoring.base import ScoringError, check_logprobs

_LOWEST = math.log(2.0**-149)  # −103.28 nats: the smallest number above zero in float32
_ROUND = -50.0  # whole numbers from here down are written by hand: no token of a text has cost as much as this
_CONSTANTS = [10.0**-power for power in range(4, 17)] + [2.0**-power for power in (14, 24, 126, 133, 149)]
_FLOORS = np.log(
    _CONSTANTS
)  # logarithms of what is added to a probability so that it is not zero, or of the least number of a format
_PILED, _DEEP = -8.0, -10.0  # a floor below the first is one if its value is round, below the second whatever its value
_LARGEST = 1e6  # no number of this size is converted
_SUM = 0.05  # by which the probabilities of alternatives may exceed one (bfloat16 rounds them)


class ContractError(ScoringError):
    """The server answered something else than log-probabilities of exactly the tokens that were sent."""


def read_answer(answer: Any, tokens: int, asked: int, source: str) -> tuple[np.ndarray, list[list[float]]]:
    """The scores (``tokens``,) of a prompt of one prefix and ``tokens`` tokens, and the alternatives at each of them (lists, empty where there are none).

    ``asked`` is the number of alternatives that was asked for; a server gives so many, and the token itself if it is not among them.

    Raises :class:`ContractError` or :class:`ScoringError` that names ``source`` for anything that is not the agreed answer, whatever it is made of.

    >>> listed = {"token_logprobs": [None, -0.5], "top_logprobs": [None, {"a": -0.5, "b": -1.0}]}
    >>> read_answer({"choices": [{"logprobs": listed}]}, 1, 2, "a server")
    (array([-0.5], dtype=float32), [[-0.5, -1.0]])
    """
    sent = tokens + 1
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    listed = choice.get("logprobs") if isinstance(choice, dict) else None
    found = listed.get("token_logprobs") if isinstance(listed, dict) else None
    if not isinstance(answer, dict) or not isinstance(listed, dict) or not isinstance(found, list):
        raise ContractError(
            f"{source} answered without choices[0].logprobs.token_logprobs: it gives no log-probabilities with echo"
        )
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens", sent) if isinstance(usage, dict) else sent
    count = len(found)
    if count not in (sent, sent + 1) or counted != sent:  # the one generated token may or may not be listed
        meaning = "only generated tokens" if count <= 1 else "another list of tokens"
        shown = counted if type(counted) is int and 0 <= counted <= 4 * sent else "another number of"
        raise ContractError(
            f"{source} returned {count} log-probabilities and counted {shown} prompt tokens for a prompt of {sent}: it scores {meaning}; "
            "use a server that echoes the prompt's log-probabilities for token ids, such as vLLM"
        )
    numbers = found[1:sent]  # the first is the prefix, which nothing predicts
    for position, number in enumerate(numbers):
        if number is None:
            raise ContractError(
                f"{source} left out the log-probability of token {position} of {tokens}: expected one for each"
            )
        if type(number) not in (int, float):
            raise ContractError(
                f"{source} gave a JSON {type(number).__name__} as log-probability of token {position}: expected a number"
            )
        if not -_LARGEST < number <= 0 and not 0 < number < 1e-5:
            raise ContractError(
                f"{source} returned log-probability {_shown(number)} at position {position}: expected finite numbers that are not positive; "
                "these scores are unusable"
            )
    scores = check_logprobs(numbers, tokens, source)
    check_each(scores, source)
    return scores, _alternatives(_aligned(listed, count, source), scores, asked, source)


def check_each(scores: np.ndarray, source: str) -> None:
    """Refuse a score that no softmax gives: below float32, or a round number far below every token of a text."""
    wrong = np.flatnonzero((scores < _LOWEST) | ((scores <= _ROUND) & (scores == np.round(scores))))
    if wrong.size:
        at = int(wrong[0])
        raise ContractError(
            f"{source} returned log-probability {_shown(float(scores[at]))} at position {at}: no softmax gives this, it stands for a probability "
            "that the server does not know or has cut off. Switch off top_k, top_p and min_p there (also in the model's generation_config), "
            "and have it return raw log-probabilities"
        )


def check_floor(scores: Sequence[np.ndarray], tokens: Sequence[np.ndarray], vocabulary: int, source: str) -> None:
    """Refuse scores that end at a floor: one value that several different tokens share exactly, with next to nothing just above it.

    A model gives two different tokens the same float only by accident.  Where the least value is the logarithm of a round constant two
    tokens suffice, or where it is a whole number below −20; elsewhere four of them, more than lie within one nat above.  Equal probabilities for all of ``vocabulary`` are no floor.

    >>> rows = [np.float32([-1.5, -23.025851]), np.float32([-23.025851, -3.0])]
    >>> check_floor(rows, [np.array([5, 6]), np.array([7, 8])], 40, "a server")
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.answers.ContractError: a server gives 2 different tokens exactly the same least log-probability, -23: it cuts off small probabilities instead of returning them. Switch that off, or take another server
    """
    if not scores:
        return
    values, ids = np.concatenate(scores).astype(float), np.concatenate([np.asarray(row) for row in tokens])
    least = values.min()
    same = len(set(ids[values == least].tolist()))
    if same < 2 or least > _PILED or abs(least + math.log(vocabulary)) < 1e-3:
        return
    near = int(((values > least) & (values <= least + 1)).sum())
    constant = bool(np.any(np.abs(_FLOORS - least) < 2e-5 * abs(least)))
    few = least == round(least) and least <= 2 * _DEEP
    if constant or (same >= (2 if few else 4) and same > near and (least <= _DEEP or least == round(least))):
        raise ContractError(
            f"{source} gives {same} different tokens exactly the same least log-probability, {_shown(least)}: it cuts off small probabilities "
            "instead of returning them. Switch that off, or take another server"
        )


def check_untruncated(alternatives: Sequence[list[float]], vocabulary: int, source: str) -> None:
    """Refuse a server whose few best alternatives have all the probability at every position of a random prompt.

    That is what top-k, top-p, min-p or a temperature near zero leave; a model has some left for the other tokens.
    """
    rows = [row for row in alternatives if row]
    if not rows or max(map(len, rows)) >= vocabulary:
        return
    if all(math.fsum(map(math.exp, row)) > 1 - 1e-5 for row in rows):
        raise ContractError(
            f"{source} leaves no probability to any token but its best {max(map(len, rows))}: top_k, top_p, min_p or a temperature near zero is "
            "applied. Switch them off there (also in the model's generation_config)"
        )


def _aligned(listed: dict[str, Any], count: int, source: str) -> Any:
    """The alternatives, if they and the tokens have as many entries as the log-probabilities; else the lists are shifted against each other."""
    for name in ("tokens", "top_logprobs"):
        if isinstance(listed.get(name), list) and len(listed[name]) != count:
            raise ContractError(
                f"{source} gave {len(listed[name])} {name} for {count} log-probabilities: expected lists of one length"
            )
    return listed.get("top_logprobs")


def _alternatives(found: Any, scores: np.ndarray, asked: int, source: str) -> list[list[float]]:
    """The log-probabilities of the alternatives at every token, checked against each other and against the token's own."""
    if found is None:
        return [[] for _ in scores]
    if not isinstance(found, list) or len(found) < len(scores) + 1:
        raise ContractError(f"{source} gave top_logprobs that are no list of one entry a token: expected one for each")
    rows, strange = [], 0
    for position, (own, entry) in enumerate(zip(scores.tolist(), found[1:], strict=False)):
        if entry is not None and not isinstance(entry, dict):
            raise ContractError(
                f"{source} gave a JSON {type(entry).__name__} as alternatives of token {position}: expected an object or null"
            )
        row = list((entry or {}).values())
        if not all(type(number) in (int, float) and number <= 1e-5 for number in row):  # −Infinity may stand here
            raise ContractError(
                f"{source} gave an alternative of token {position} that is no log-probability: expected numbers that are not positive"
            )
        row = [float(max(number, -_LARGEST)) for number in row]
        total = math.fsum(map(math.exp, row))
        if row and all(abs(number - own) > _SUM for number in row):
            total += math.exp(own)
            # Two tokens may be written alike and share an entry, so that one is lost: a few such positions prove nothing.
            strange += len(row) > asked or own > min(row)
        if total > 1 + _SUM:
            raise ContractError(
                f"{source} gives token {position} and its alternatives a probability of {total:.2f} together: expected at most 1; "
                "its log-probabilities are not those of one distribution"
            )
        rows.append(row)
    if strange > 1 + 0.1 * len(rows):
        raise ContractError(
            f"{source} gives {strange} of {len(rows)} tokens another log-probability than its list of alternatives has: "
            "its numbers belong to other positions, or are not those of one distribution"
        )
    return rows


def _shown(number: float) -> str:
    """A number as a message may show it: a server's number is its own words, and three digits of it are enough."""
    if number in (-9999, -99999, -1000, -100, -999):
        return f"{number:.0f}"
    try:
        return f"{float(number):.3g}"
    except OverflowError:
        return "of hundreds of digits"
