"""What a pretrained model's scores know of an instruction: the posterior over nine instructions given a sentence that keeps one of them.

With a uniform prior, p(N | y) ∝ q(y | N), and Î = ln 9 + mean ln p(N | y) is at most ln 9.  It is a lower bound on I(N; y) in the mean over
sentences drawn with their instruction, whatever the model is, and may be negative.  No text has to be generated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.scoring.base import ScoringError, encode
from l2m_utils.scoring.next_laws import LawReader, open_reader

# Written for this lab: five for each of two to ten words; the nine of one column end in nine different words.
SENTENCES = (
    ("Birds sing.", "Rain falls.", "They laughed.", "Time flies.", "Dogs bark."),
    ("The door opened.", "She likes music.", "We need water.", "He bought bread.", "My sister smiled."),
    ("The old bridge collapsed.", "I forgot my keys.", "They walked to school.", "Our train was late.", "The soup tastes good."),
    ("The boy climbed a tree.", "Nobody knew the right answer.", "We met at the station.", "She painted the kitchen wall.", "He slept until the morning."),
    ("The farmer sold all his cows.", "I read it in a book.", "The sailors looked at the sea.", "You can leave your coat here.", "My uncle works in a bank."),
    ("The children played in the wet garden.", "She wrote a long letter to him.", "A small boat crossed the wide river.", "He closed the window because of noise.", "The doctor told us a funny story."),
    ("We had to wait an hour for lunch.", "The cat was asleep on the warm floor.", "Nobody had told the teacher about the fire.", "I would like to visit you next summer.", "The thieves hid the money under a stone."),
    ("On Sunday the whole family went to the village.", "The new shop sells apples, cheese and fresh milk.", "It was too dark to see the narrow road.", "The king gave half of it to his daughter.", "They sat by the lake and watched the moon."),
    ("My grandfather was born in a town near the mountains.", "She put the flowers on the table in the hall.", "The engineers built a tall tower near the old city.", "After the concert we drank a cup of black coffee.", "He lost his hat when he jumped from the horse."),
)  # fmt: skip
LENGTHS_ASKED = tuple(range(2, 11))
COUNT = "Write a sentence of exactly {} words."
WORD = 'Write a sentence that ends with the word "{}".'
BOTH = 'Write a sentence of exactly {} words that ends with the word "{}".'


def last_word(sentence: str) -> str:
    """The last word of a sentence without its full stop; raises ``ValueError`` for no words.

    >>> last_word("Rain falls.")
    'falls'
    """
    words = sentence.split()
    if not words:
        raise ValueError("a sentence without words: expected at least one")
    return words[-1].strip(".,;:!?\"'")


def chat_ids(tokenizer, request: str) -> np.ndarray:
    """Ids of a request in the chat form of the model, up to where the answer begins, without the first, which is the reader's prefix.

    Raises :class:`ScoringError` where the form does not begin with the tokenizer's BOS.
    """
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": request}], tokenize=False, add_generation_prompt=True
    )
    ids = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
    if ids[0] != tokenizer.bos_token_id:
        raise ScoringError(f"the chat form begins with token {ids[0]}, expected BOS ({tokenizer.bos_token_id})")
    return ids[1:]


def control_information(log_scores: np.ndarray, asked: np.ndarray) -> tuple[float, np.ndarray]:
    """(Î in nats, log-posteriors (sentences, instructions)) from log q(sentence | instruction) (sentences, instructions) and which one it keeps.

    >>> round(control_information(np.zeros((3, 9)), np.array([0, 1, 2]))[0], 12)
    0.0
    """
    log_scores = np.asarray(log_scores, dtype=np.float64)
    if log_scores.ndim != 2 or log_scores.shape[1] < 2 or len(asked) != len(log_scores):
        raise ValueError(
            f"scores {log_scores.shape} for {len(asked)} sentences: expected a row each and at least two instructions"
        )
    posterior = log_scores - logsumexp(log_scores, axis=1, keepdims=True)
    kept = posterior[np.arange(len(asked)), asked]
    return float(np.log(log_scores.shape[1]) + kept.mean()), posterior


def instruction_scores(reader: LawReader, tokenizer) -> pd.DataFrame:
    """log q(sentence and end | request) of every sentence under its nine requests of either kind.

    Columns ``kind`` (count, last word), ``column`` (of :data:`SENTENCES`), ``words``, ``asked``, ``keeps``, ``score``.
    """
    columns = list(zip(*SENTENCES, strict=True))
    answers = {text: np.append(encode(tokenizer, text), reader.end_id) for row in SENTENCES for text in row}
    rows = []
    for number, length in tqdm(list(enumerate(LENGTHS_ASKED)), unit="request", desc="count"):
        scores = reader.after(chat_ids(tokenizer, COUNT.format(length)), list(answers.values()))
        for (text, _), score in zip(answers.items(), scores, strict=True):
            place = next((w, c) for w, row in enumerate(SENTENCES) for c, each in enumerate(row) if each == text)
            rows.append(("count", place[1], LENGTHS_ASKED[place[0]], str(length), place[0] == number, score.sum()))
    for column, texts in tqdm(list(enumerate(columns)), unit="column", desc="last word"):
        for number, text in enumerate(texts):
            request = chat_ids(tokenizer, WORD.format(last_word(text)))
            scores = reader.after(request, [answers[each] for each in texts])
            rows += [
                ("last word", column, LENGTHS_ASKED[place], last_word(text), place == number, score.sum())
                for place, score in enumerate(scores)
            ]
    return pd.DataFrame(rows, columns=["kind", "column", "words", "asked", "keeps", "score"])


def as_scores(table: pd.DataFrame, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Of the table of :func:`instruction_scores`, log-scores (45, 9) of one kind and the number of the request that each sentence keeps."""
    part = table[table["kind"] == kind]
    groups = [group for _, group in part.groupby(["column", "words"], sort=True)]
    return np.stack([group["score"] for group in groups]), np.array(
        [int(np.argmax(group["keeps"])) for group in groups]
    )


def likely_answers(reader: LawReader, tokenizer, tokens: int, rng: np.random.Generator) -> pd.DataFrame:
    """What the model writes when asked for both, nearly always its likeliest token: columns ``words``, ``last``, ``answer``."""
    asked = [(length, last_word(text)) for length, row in zip(LENGTHS_ASKED, SENTENCES, strict=True) for text in row]
    prompts = [chat_ids(tokenizer, BOTH.format(*each)) for each in asked]
    answers = [""] * len(asked)
    for length in tqdm(sorted({len(prompt) for prompt in prompts}), unit="batch", desc="writing"):
        chosen = [number for number, prompt in enumerate(prompts) if len(prompt) == length]
        ids, _ = reader.sample([prompts[number] for number in chosen], tokens, 1e-3, (reader.end_id,), rng)
        for number, row in zip(chosen, ids.tolist(), strict=True):
            end = row.index(reader.end_id) if reader.end_id in row else tokens
            answers[number] = tokenizer.decode(row[:end])
    return pd.DataFrame(
        [(*each, answer) for each, answer in zip(asked, answers, strict=True)], columns=["words", "last", "answer"]
    )


def kept_requests(answers: pd.DataFrame) -> dict[str, float]:
    """Shares of answers with the number of words asked for and with the last word, and the mean squared error of the number.

    >>> kept_requests(pd.DataFrame({"words": [2, 3], "last": ["falls", "bread"], "answer": ["Rain falls.", "Some bread"]}))
    {'count': 0.5, 'last word': 1.0, 'squared error': 0.5}
    """
    if not len(answers):
        raise ValueError("no answers: expected at least one to measure")
    counts = answers["answer"].str.split().str.len()
    ends = [bool(a.split()) and last_word(a) == w for a, w in zip(answers["answer"], answers["last"], strict=True)]
    return {
        "count": float((counts == answers["words"]).mean()),
        "last word": float(np.mean(ends)),
        "squared error": float(((counts - answers["words"]) ** 2).mean()),
    }


def store_instructions(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The tables ``model-scores`` and ``model-answers``; no texts are read."""
    reader, tokenizer, name = open_reader(model)
    reader.prefix_id = tokenizer.bos_token_id  # the chat form begins with it
    run.table("model-scores", instruction_scores(reader, tokenizer).assign(model=name))
    run.table("model-answers", likely_answers(reader, tokenizer, 24, np.random.default_rng(seed)).assign(model=name))
