"""Planning a sentence of N words that ends with a given word, exactly, in a language whose words form a Markov chain.

Rows of a ``chain`` (V, V + 1) are the laws of what follows a word: the V words, and the end of the sentence in the last column.  The probability
that free writing does what is asked is a backward recursion,

    b_0(v) = 1[v = w] P(end | v),    b_j(v) = Σ_u P(u | v) b_{j-1}(u),

and writing by P(u | v) b_{j-1}(u) / b_j(v) always does it, by exactly the conditional law (Doob).  Then ln p(text | asked) - ln P(text) is the
constant -ln b: what the instruction tells about the text, in nats.
"""

from __future__ import annotations

import numpy as np

WORDS_ASKED = tuple(range(2, 11))  # N of the paper's benchmark: two to ten words


def sentence_chain(words: int, rng: np.random.Generator, ending: float = 0.1) -> np.ndarray:
    """A language of ``words`` words: Zipf's law, preferences of each word for a few others, and ends after ``ending`` of the words on average.

    >>> chain = sentence_chain(50, np.random.default_rng(0))
    >>> chain.shape, bool(np.allclose(chain.sum(axis=1), 1))
    ((50, 51), True)
    """
    if words < 2 or not 0 < ending < 1:
        raise ValueError(
            f"{words} words, ends after a share of {ending}: expected at least two words and a share in (0, 1)"
        )
    common = 1 / np.arange(1.0, words + 1)
    follows = common / common.sum() * rng.gamma(0.1, size=(words, words))
    follows += 1e-3 * common / common.sum() * follows.sum(axis=1, keepdims=True)
    follows /= follows.sum(axis=1, keepdims=True)
    ends = np.clip(ending * rng.gamma(2.0, 0.5, size=(words, 1)), 0.0, 0.9)
    return np.hstack([follows * (1 - ends), ends])


def backward(chain: np.ndarray, length: int, last: int) -> np.ndarray:
    """b_j(v) for j = 0 … ``length``, shape (length + 1, V): the chance that exactly j more words come, ``last`` last, and then the end.

    Raises ``ValueError`` for a word that is not in the language or never ends a sentence.
    """
    words = len(chain)
    if not 0 <= last < words or length < 1:
        raise ValueError(
            f"{length} words ending with word {last}: expected at least one, ending with one of 0 … {words - 1}"
        )
    if chain[last, -1] <= 0:
        raise ValueError(
            f"word {last} never ends a sentence in this language, so that nothing can end with it: choose another word"
        )
    rows = np.zeros((length + 1, words))
    rows[0, last] = chain[last, -1]
    for j in range(1, length + 1):
        rows[j] = chain[:, :-1] @ rows[j - 1]
    return rows


def write(chain: np.ndarray, start: int, count: int, rng: np.random.Generator, most: int = 200) -> list[list[int]]:
    """``count`` sentences after the word ``start``, written freely until their end, cut at ``most`` words."""
    cumulative, written = chain.cumsum(axis=1), [[] for _ in range(count)]
    word, alive = np.full(count, start), np.arange(count)
    for _ in range(most):
        drawn = (cumulative[word[alive]] < rng.random((len(alive), 1))).sum(axis=1)
        alive = alive[drawn < len(chain)]
        drawn = drawn[drawn < len(chain)]
        word[alive] = drawn
        for sentence, next_word in zip(alive, drawn, strict=True):
            written[sentence].append(int(next_word))
        if not len(alive):
            break
    return written


def write_planned(chain: np.ndarray, start: int, length: int, last: int, count: int, rng: np.random.Generator):
    """``count`` sentences of exactly ``length`` words that end with ``last``, and the log-probabilities (by plan, by free writing), shape (2, count).

    Raises ``ValueError`` where no such sentence is possible.
    """
    rows = backward(chain, length, last)
    if rows[length, start] <= 0:
        raise ValueError(f"no sentence of {length} words after word {start} ends with word {last} in this language")
    word, logs, written = np.full(count, start), np.zeros((2, count)), np.empty((count, length), dtype=int)
    for j in range(length, 0, -1):
        law = chain[word, :-1] * rows[j - 1]
        law /= rows[j, word][:, None]
        drawn = np.minimum((law.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1), len(chain) - 1)
        logs += np.log([law[np.arange(count), drawn], chain[word, drawn]])
        word = written[:, length - j] = drawn
    logs[1] += np.log(chain[word, -1])
    return written.tolist(), logs


def planning_metrics(sentences: list[list[int]], length: int, last: int) -> dict[str, float]:
    """The benchmark's four numbers: share with the right count, the right last word, both, and mean squared error of the count.

    >>> planning_metrics([[1, 2, 3], [3], []], 3, 3)
    {'count': 0.3333333333333333, 'last word': 0.6666666666666666, 'both': 0.3333333333333333, 'squared error': 4.333333333333333}
    """
    if not sentences:
        raise ValueError("no sentences: expected at least one to measure")
    counts = np.array([len(sentence) for sentence in sentences])
    ends = np.array([bool(sentence) and sentence[-1] == last for sentence in sentences])
    return {
        "count": float(np.mean(counts == length)),
        "last word": float(ends.mean()),
        "both": float(np.mean(ends & (counts == length))),
        "squared error": float(np.mean((counts - length) ** 2.0)),
    }


def count_laws(chain: np.ndarray, start: int, longest: int) -> np.ndarray:
    """P(a freely written sentence has n words), n = 0 … ``longest``."""
    state, law = np.eye(len(chain))[start], []
    for _ in range(longest + 1):
        law.append(float(state @ chain[:, -1]))
        state = state @ chain[:, :-1]
    return np.array(law)


def countdown_success(states: int, lengths: int = len(WORDS_ASKED)) -> float:
    """Best share of right counts of a writer whose state tells only ``states`` of the ``lengths`` equally likely instructions apart."""
    if states < 1 or lengths < 1:
        raise ValueError(f"{states} states for {lengths} instructions: expected at least one of each")
    return min(states, lengths) / lengths


def fano_ceiling(information: float, choices: int) -> float:
    """Fano: no writer that carries ``information`` nats about one of ``choices`` equally likely instructions is right more often than this.

    >>> round(fano_ceiling(np.log(3), 9), 3), fano_ceiling(10.0, 9)
    (0.815, 1.0)
    """
    if choices < 2 or information < 0:
        raise ValueError(
            f"{information} nats about one of {choices}: expected nats of at least 0 and at least two choices"
        )
    return float(min(1.0, (information + np.log(2)) / np.log(choices)))
