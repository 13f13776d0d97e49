"""Scores from a server that speaks the OpenAI completions protocol (vLLM, SGLang and others).

A prompt is sent as token ids with ``echo``, and the answer lists log-probabilities for the prompt itself.
Many servers accept such a request and answer something else: only the generated token, the prompt cut
anew into other tokens, or numbers that are shifted by one position.  So a *contract probe* runs at
connection, and a server that does not keep the contract is refused before it can spoil a result.
"""

from __future__ import annotations

import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from l2m_utils.scoring.answers import ContractError, check_floor, check_untruncated, read_answer
from l2m_utils.scoring.base import check_sequences
from l2m_utils.scoring.request import ApiKey, ServerError, check_address, exchange

_RETRIED = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 600.0  # seconds; a server that asks for more is not waited for
_PROBE_RETRIES = 2  # a server that never answers should be known at once, not after all pauses
_PROBE_TOLERANCE = 0.05  # nats by which one token's score may differ between two requests (bfloat16 kernels do differ)
_ANSWER_BYTES, _TOKEN_BYTES = (
    4 << 20,
    4 << 10,
)  # the longest answer that is read: so much, and so much for every token sent

# What a server may apply unless it is told not to: defaults of its own, or those that came with the model (generation_config.json).
_STANDARD = {"top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "logit_bias": {}}
_FURTHER = {
    "top_k": -1,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
}  # of vLLM, SGLang, llama.cpp and others
_FORMS = [  # tried in turn at connection, until the server does not say that a request is malformed: alternatives asked for, and settings
    (20, _STANDARD | _FURTHER),
    (5, _STANDARD | _FURTHER),
    (5, _STANDARD),
    (1, {}),
]


class ServerScorer:
    """A completions server as a scorer.

    Parameters
    ----------
    url : base address that ends in ``/v1``, as for other clients.
    model : name under which the server knows the model.
    prefix_id, vocabulary : the token before every sequence (BOS, else EOS) and the number of token ids of the model.
    max_length : the most tokens that the server takes (prompt and answer); two of them go to the prefix and to one generated token.
    revision, dtype : what the server runs, for the stored records; a server cannot be asked.
    api_key : sent as a bearer token if given.
    concurrency : most requests under way at once.
    timeout, retries, backoff : seconds for one whole answer; how often a request is tried again after 429, 5xx, a
        broken connection or a timeout; the first pause in seconds, doubled each time, and never shorter than ``Retry-After`` asks.

    Raises :class:`.request.ServerError` if the server cannot be reached and :class:`.answers.ContractError` if it does not keep the contract.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        prefix_id: int,
        vocabulary: int,
        max_length: int,
        revision: str = "",
        dtype: str = "",
        api_key: str | ApiKey = "",
        concurrency: int = 8,
        timeout: float = 300.0,
        retries: int = 6,
        backoff: float = 1.0,
    ):
        self._key = api_key if isinstance(api_key, ApiKey) else ApiKey(api_key)
        self.url, self.model = check_address(url) + "/completions", model
        self.prefix_id, self.vocabulary, self.context = prefix_id, vocabulary, max_length - 2
        self.concurrency, self.timeout, self.retries, self.backoff = concurrency, timeout, retries, backoff
        self.identity = {"backend": "server", "model": model, "revision": revision, "dtype": dtype}
        self._settings: dict[str, Any] = {}
        self._stop = threading.Event()
        self.check_contract()

    def score(self, sequences) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, in the given order.

        Raises :class:`.base.ScoringError` for sequences or scores that cannot be, :class:`.answers.ContractError` for an
        answer that does not belong to the prompt or ends at a floor, :class:`.request.ServerError` when the retries are used up.
        """
        checked = check_sequences(sequences, self.vocabulary, self.context)
        self._stop.clear()
        with ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(self._score_one, sequence) for sequence in checked]
            try:
                bar = tqdm(futures, desc="scoring", unit="sequence", delay=5, leave=False)
                scores = [future.result() for future in bar]
            except BaseException:  # the first failure ends the others: those waiting to start, and those in a pause
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        check_floor(scores, checked, self.vocabulary, self.url)
        return scores

    def check_contract(self) -> None:
        """Send a few prompts whose answers can be checked; raise :class:`.answers.ContractError` if one is not as agreed.

        Every token has its score, for exactly the ids sent; a score does not change with the tokens after
        it; and the best alternative at a position does not change with the token at that position, which
        it does when a server's numbers are shifted by one.  The tokens are drawn at random, so that a server that keeps only the likeliest has none
        for most of them; and what it gives to the alternatives leaves something for the others.
        """
        # Ids from the second quarter of the vocabulary: special tokens sit at either end.
        ids = np.random.default_rng(0).integers(
            self.vocabulary // 4, max(self.vocabulary // 2, self.vocabulary // 4 + 1), size=min(24, self.context)
        )
        retries = min(self.retries, _PROBE_RETRIES)
        asked = self._choose_form(ids, retries)
        best, scores, listed = [], [], []
        for last in dict.fromkeys([int(ids[-1]), self.vocabulary // 3, self.vocabulary // 2]):
            prompt = np.append(ids[:-1], last)
            logprobs, alternatives = self._request(prompt, retries, asked)
            check_floor([logprobs], [prompt], self.vocabulary, self.url)
            scores.append(logprobs)
            listed.append(alternatives)
            if not alternatives[-1]:
                raise ContractError(
                    f"{self.url} gives no top_logprobs for the prompt: they are needed once, to check that its numbers are not shifted"
                )
            best.append(max(alternatives[-1]))
        if all(not row.any() for row in scores):
            raise ContractError(
                f"{self.url} gives log-probability 0 for every token of a random prompt: it fills in zeros instead of scoring the prompt"
            )
        if np.ptp([row[:-1] for row in scores], axis=0).max(initial=0) > _PROBE_TOLERANCE:
            raise ContractError(
                f"{self.url} changes the scores of earlier tokens with later ones: it does not score exactly the ids that were sent"
            )
        if np.ptp(best) > _PROBE_TOLERANCE:
            raise ContractError(
                f"{self.url} changes the alternatives at a position with the token at that position: its log-probabilities are shifted by one token"
            )
        check_untruncated([row for alternatives in listed for row in alternatives], self.vocabulary, self.url)

    def _choose_form(self, prompt: np.ndarray, retries: int) -> int:
        """Settle the settings that are sent, as many as the server takes; returns how many alternatives may be asked for."""
        for alternatives, settings in _FORMS[:-1]:
            self._settings = settings
            status, _ = self._post(self._body(prompt, alternatives), retries, refusals=(400, 422))
            if status == 200:
                return alternatives
        alternatives, self._settings = _FORMS[-1]
        self._post(self._body(prompt, alternatives), retries)
        warnings.warn(
            f"{self.url} does not take top_p and penalties in a request: see to it that it applies none by itself",
            RuntimeWarning,
            stacklevel=4,
        )
        return alternatives

    def _body(self, sequence: np.ndarray, alternatives: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": [self.prefix_id, *sequence.tolist()],
            "max_tokens": 1,  # some servers take 0 for "no limit"
            "echo": True,
            "logprobs": alternatives,
            "temperature": 1.0,
            **self._settings,
        }

    def _score_one(self, sequence: np.ndarray) -> np.ndarray:
        return self._request(sequence, self.retries, 1)[0]

    def _request(self, sequence: np.ndarray, retries: int, alternatives: int) -> tuple[np.ndarray, list[list[float]]]:
        """Scores of one sequence, and the alternatives that the server names at its positions."""
        _, answer = self._post(self._body(sequence, alternatives), retries)
        return read_answer(answer, len(sequence), alternatives, self.url)

    def _post(self, body: dict[str, Any], retries: int, refusals: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Status and JSON of the server's answer, after at most ``retries`` further tries; a status of ``refusals`` is returned, not raised."""
        limit, problem = _ANSWER_BYTES + _TOKEN_BYTES * len(body["prompt"]), ""
        for attempt in range(retries + 1):
            reply = exchange(self.url, body, self._key, seconds=self.timeout, limit=limit)
            problem = reply.problem
            if not problem or reply.status in refusals:
                return reply.status, reply.content
            if reply.lasting or (reply.status not in (0, 200) and reply.status not in _RETRIED):
                raise ServerError(f"{self.url} refused the request with {problem}")
            if reply.asked > _LONGEST_WAIT:
                raise ServerError(
                    f"{self.url} asks to wait longer than {_LONGEST_WAIT:.0f} s after {problem}: run again later, finished shards are safe"
                )
            pause = max(reply.asked, min(60.0, self.backoff * 2**attempt) * random.uniform(0.5, 1.0))
            if attempt < retries and self._stop.wait(pause):
                raise ServerError("stopped: another request has failed")
        raise ServerError(
            f"{self.url} gave no answer in {retries + 1} tries, the last time {problem}: check the server, lower concurrency or raise timeout"
        )
