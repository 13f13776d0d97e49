"""Scores from a server that speaks the OpenAI completions protocol (vLLM, SGLang and others).

A prompt is sent as token ids with ``echo``, and the answer lists log-probabilities for the prompt itself.
Many servers accept such a request and answer something else: only the generated token, the prompt cut
anew into other tokens, or numbers that are shifted by one position.  So a *contract probe* runs at
connection, and a server that does not keep the contract is refused before it can spoil a result.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from l2m_utils.scoring.base import ScoringError, check_logprobs, check_sequences

_RETRIED = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 600.0  # seconds; a server that asks for more is not waited for
_PROBE_RETRIES = 2  # a server that never answers should be known at once, not after all pauses
_PROBE_TOLERANCE = 0.05  # nats by which one token's score may differ between two requests (bfloat16 kernels do differ)


class ServerError(ScoringError):
    """The server did not answer, or answered with an error that waiting does not cure."""


class ContractError(ScoringError):
    """The server answered something else than log-probabilities of exactly the tokens that were sent."""


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
    timeout, retries, backoff : seconds for one answer; how often a request is tried again after 429, 5xx, a
        broken connection or a timeout; the first pause in seconds, doubled each time, and never shorter than ``Retry-After`` asks.

    Raises :class:`ServerError` if the server cannot be reached and :class:`ContractError` if it does not keep the contract.
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
        api_key: str = "",
        concurrency: int = 8,
        timeout: float = 300.0,
        retries: int = 6,
        backoff: float = 1.0,
    ):
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ServerError(f"address {url!r}: expected http://… or https://…")
        self.url, self.model = url.rstrip("/") + "/completions", model
        self.prefix_id, self.vocabulary, self.context = prefix_id, vocabulary, max_length - 2
        self.concurrency, self.timeout, self.retries, self.backoff = concurrency, timeout, retries, backoff
        self.identity = {"backend": "server", "model": model, "revision": revision, "dtype": dtype}
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._stop = threading.Event()
        self.check_contract()

    def score(self, sequences) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, in the given order.

        Raises :class:`ScoringError` for sequences or scores that cannot be, :class:`ContractError` for an
        answer that does not belong to the prompt, :class:`ServerError` when the retries are used up.
        """
        checked = check_sequences(sequences, self.vocabulary, self.context)
        self._stop.clear()
        with ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(self._score_one, sequence) for sequence in checked]
            try:
                return [
                    future.result() for future in tqdm(futures, desc="scoring", unit="sequence", delay=5, leave=False)
                ]
            except BaseException:  # the first failure ends the others: those waiting to start, and those in a pause
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def check_contract(self) -> None:
        """Send a few prompts whose answers can be checked; raise :class:`ContractError` if one is not as agreed.

        Every token has its score, for exactly the ids sent; a score does not change with the tokens after
        it; and the best alternative at a position does not change with the token at that position, which
        it does when a server's numbers are shifted by one.
        """
        # Ids from the second quarter of the vocabulary: special tokens sit at either end.
        ids = np.random.default_rng(0).integers(
            self.vocabulary // 4, max(self.vocabulary // 2, self.vocabulary // 4 + 1), size=min(24, self.context)
        )
        best, scores = [], []
        for last in dict.fromkeys([int(ids[-1]), self.vocabulary // 3, self.vocabulary // 2]):
            prompt = np.append(ids[:-1], last)
            logprobs, alternatives = self._request(prompt, min(self.retries, _PROBE_RETRIES))
            scores.append(logprobs)
            if not alternatives or not alternatives[-1]:
                raise ContractError(
                    f"{self.url} gives no top_logprobs for the prompt: they are needed once, to check that its numbers are not shifted"
                )
            best.append(max(alternatives[-1].values()))
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

    def _score_one(self, sequence: np.ndarray) -> np.ndarray:
        return self._request(sequence, self.retries)[0]

    def _request(self, sequence: np.ndarray, retries: int) -> tuple[np.ndarray, list | None]:
        """Scores of one sequence, and the alternatives that the server names at its positions."""
        answer = self._post(
            {
                "model": self.model,
                "prompt": [self.prefix_id, *sequence.tolist()],
                "max_tokens": 1,  # some servers take 0 for "no limit"
                "echo": True,
                "logprobs": 1,
                "temperature": 1.0,
            },
            retries,
        )
        sent = len(sequence) + 1
        try:
            (choice,) = answer["choices"]
            found = choice["logprobs"]["token_logprobs"]
            count = len(found)
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError(
                f"{self.url} answered without choices[0].logprobs.token_logprobs: it gives no log-probabilities with echo"
            ) from error
        counted = (answer.get("usage") or {}).get("prompt_tokens", sent)
        if count not in (sent, sent + 1) or counted != sent:  # the one generated token may or may not be listed
            meaning = "only generated tokens" if count <= 1 else "another list of tokens"
            raise ContractError(
                f"{self.url} returned {count} log-probabilities and counted {counted} prompt tokens for a prompt of {sent}: it scores {meaning}; "
                "use a server that echoes the prompt's log-probabilities for token ids, such as vLLM"
            )
        numbers = found[1:sent]  # the first is the prefix, which nothing predicts
        if any(number is None for number in numbers):
            raise ContractError(
                f"{self.url} left out the log-probability of token {numbers.index(None)} of {len(sequence)}: expected one for each"
            )
        alternatives = choice["logprobs"].get("top_logprobs")
        return check_logprobs(numbers, len(sequence), self.url), alternatives[1:sent] if alternatives else None

    def _post(self, body: dict, retries: int) -> dict:
        """The server's JSON answer, after at most ``retries`` further tries."""
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self._headers)
        for attempt in range(retries + 1):
            asked = 0.0
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    problem = f"HTTP {error.code}: {error.read(500).decode(errors='replace').strip()}"
                if error.code not in _RETRIED:
                    raise ServerError(f"{self.url} refused the request with {problem}") from error
                asked = retry_after(error.headers.get("Retry-After"))
            except (
                OSError,
                http.client.HTTPException,
                ValueError,
            ) as error:  # no connection, timeout, broken off, or no JSON
                problem = f"{type(error).__name__}: {error}"
            if asked > _LONGEST_WAIT:
                raise ServerError(
                    f"{self.url} asks to wait {asked:.0f} s after {problem}: run again later, finished shards are safe"
                )
            pause = max(asked, min(60.0, self.backoff * 2**attempt) * random.uniform(0.5, 1.0))
            if attempt < retries and self._stop.wait(pause):
                raise ServerError("stopped: another request has failed")
        raise ServerError(
            f"{self.url} gave no answer in {retries + 1} tries, the last time {problem}: check the server, lower concurrency or raise timeout"
        )


def retry_after(value: str | None) -> float:
    """Seconds that a ``Retry-After`` header asks for: a number, or a date; 0 without one.

    >>> retry_after("7"), retry_after(None), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
    (7.0, 0.0, 0.0)
    """
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
