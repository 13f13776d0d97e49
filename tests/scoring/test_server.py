"""The server scorer against a little server that keeps the contract, and against servers that misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from l2m_utils.scoring.answers import ContractError, check_floor
from l2m_utils.scoring.base import Scorer, ScoringError
from l2m_utils.scoring.request import ApiKey, ServerError, retry_after
from l2m_utils.scoring.server import ServerScorer

VOCABULARY = 40


class Server(ThreadingHTTPServer):
    """Answers completions requests with ``answer(body) -> (status, headers, content)``."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/completions" and body["echo"] is True
        status, headers, content = self.server.answer(body)
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(status)
            for name, value in (
                {"Content-Type": "application/json", "Content-Length": str(len(content))} | headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up waiting, as a test wants it to

    def log_message(self, *arguments):
        pass


def completion(ids: list[int], rows: np.ndarray, drop: int = 0, shift: int = 0, usage: int | None = None) -> dict:
    """The answer of the contract for a prompt: ``rows`` (tokens, vocabulary) are log-probabilities of what follows each token.

    One token is generated.  ``drop`` leaves out that many leading entries; ``shift`` reads rows that many positions too late.
    """
    generated = int(rows[-1].argmax())
    listed = [*ids, generated]
    logprobs, alternatives = [None], [None]
    for position in range(1, len(listed)):
        row = rows[min(position - 1 + shift, len(rows) - 1)]
        logprobs.append(float(row[listed[position]]))
        alternatives.append({f"t{row.argmax()}": float(row.max()), f"t{listed[position]}": logprobs[-1]})
    choice = {
        "index": 0,
        "text": "",
        "finish_reason": "length",
        "logprobs": {
            "token_logprobs": logprobs[drop:],
            "top_logprobs": alternatives[drop:],
            "tokens": [f"t{token}" for token in listed][drop:],
        },
    }
    return {
        "object": "text_completion",
        "choices": [choice],
        "usage": {"prompt_tokens": len(ids) if usage is None else usage, "completion_tokens": 1},
    }


def rows_of(ids: list[int]) -> np.ndarray:
    """A little model without torch: logits that depend on the whole history, (tokens, vocabulary) log-probabilities of what follows."""
    history = np.cumsum(np.sin(np.outer(np.asarray(ids) + 1.0, np.arange(1, VOCABULARY + 1))), axis=0)
    logits = 2 * np.sin(history)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def well(body: dict):
    return 200, {}, completion(body["prompt"], rows_of(body["prompt"]))


@pytest.fixture
def serve():
    servers = []

    def start(answer) -> Server:
        servers.append(Server(answer))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def connect(server: Server, **options) -> ServerScorer:
    options = {"prefix_id": 1, "vocabulary": VOCABULARY, "max_length": 66, "backoff": 0.001, "timeout": 5.0} | options
    return ServerScorer(server.url, "little", **options)


def expected_scores(sequence) -> np.ndarray:
    return rows_of([1, *sequence])[np.arange(len(sequence)), sequence]


def some_sequences(count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, VOCABULARY, size=length) for length in rng.integers(1, 20, size=count)]


def test_scores_in_the_given_order(serve):
    def unequal(body):
        time.sleep(0.02 / len(body["prompt"]))  # the last answers arrive first
        return well(body)

    scorer = connect(serve(unequal), revision="r1", dtype="bfloat16")
    assert isinstance(scorer, Scorer) and scorer.context == 64
    assert scorer.identity == {"backend": "server", "model": "little", "revision": "r1", "dtype": "bfloat16"}
    sequences = some_sequences()
    for sequence, row in zip(sequences, scorer.score(sequences), strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, expected_scores(sequence), rtol=1e-6)


def test_prompt_alone_may_be_listed(serve):
    """A server may leave the generated token out of the list."""

    def answer(body):
        status, headers, content = well(body)
        for values in content["choices"][0]["logprobs"].values():
            values.pop()
        return status, headers, content

    sequence = some_sequences()[0]
    np.testing.assert_allclose(connect(serve(answer)).score([sequence])[0], expected_scores(sequence), rtol=1e-6)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency_is_bounded(serve, concurrency):
    running, most, lock = [0], [0], threading.Lock()

    def answer(body):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return well(body)

    connect(serve(answer), concurrency=concurrency).score(some_sequences(12))
    assert most[0] == concurrency


def test_key_is_sent(serve, monkeypatch):
    seen = []
    monkeypatch.setattr(
        Handler,
        "parse_request",
        lambda self, parse=Handler.parse_request: parse(self) and (seen.append(self.headers["Authorization"]) or True),
    )
    connect(serve(well), api_key="secret")
    assert set(seen) == {"Bearer secret"}


class Flaky:
    """Answers well, but every ``every``-th request fails first."""

    def __init__(self, failure, every: int = 2):
        self.failure, self.every, self.requests, self.failures = failure, every, 0, 0
        self.lock = threading.Lock()

    def __call__(self, body):
        with self.lock:
            self.requests += 1
            fail = self.requests % self.every == 0
            self.failures += fail
        return self.failure() if fail else well(body)


def slow():
    time.sleep(0.4)
    return 200, {}, b"{}"


FAILURES = {
    "429": lambda: (429, {}, {"error": "too many requests"}),
    "500": lambda: (500, {}, b"internal error"),
    "503": lambda: (503, {}, b""),
    "timeout": slow,
    "no JSON": lambda: (200, {}, b"<html>proxy</html>"),
    "cut off": lambda: (200, {"Content-Length": "1000"}, b'{"choices": ['),
}


@pytest.mark.parametrize("name", FAILURES)
def test_passing_failures_are_tried_again(serve, name):
    flaky = Flaky(FAILURES[name], every=4)
    # A cut-off answer leaves the client waiting for the rest, so it is a timeout too.
    scorer = connect(serve(flaky), timeout=0.2 if name in ("timeout", "cut off") else 5.0)
    sequences = some_sequences()
    for sequence, row in zip(sequences, scorer.score(sequences), strict=True):
        np.testing.assert_allclose(row, expected_scores(sequence), rtol=1e-6)
    assert flaky.failures >= 2


@pytest.mark.parametrize("name", ["429", "500", "timeout"])
def test_lasting_failures_end_with_what_was_seen(serve, name):
    broken = []
    server = serve(lambda body: FAILURES[name]() if broken else well(body))
    scorer = connect(server, retries=2, timeout=0.1 if name == "timeout" else 5.0)
    broken.append(True)
    with pytest.raises(ServerError, match="no answer in 3 tries, the last time .*(429|500|timed out)"):
        scorer.score(some_sequences(3))


def test_retry_after_is_honoured(serve):
    times = []

    def answer(body):
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if len(times) == 1 else well(body)

    connect(serve(answer))
    assert times[1] - times[0] >= 1.0


def test_retry_after_that_is_too_long(serve):
    begin = time.monotonic()
    with pytest.raises(ServerError, match="asks to wait longer than 600 s"):
        connect(serve(lambda body: (429, {"Retry-After": "3600"}, b"")))
    assert time.monotonic() - begin < 30


def test_retry_after_as_a_date():
    stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert 25 < retry_after(stamp) <= 30
    assert retry_after("soon") == 0.0


def test_refusals_are_not_tried_again(serve):
    asked = []

    def answer(body):
        asked.append(1)
        return 404, {}, {"error": "the model `little` does not exist"}

    with pytest.raises(ServerError, match="HTTP 404: .*does not exist"):
        connect(serve(answer))
    assert len(asked) == 1


def test_no_server_and_no_address():
    with pytest.raises(ServerError, match="no answer in 2 tries"):
        ServerScorer("http://127.0.0.1:9/v1", "m", prefix_id=1, vocabulary=9, max_length=9, retries=1, backoff=0.001)
    with pytest.raises(ServerError, match="expected http"):
        ServerScorer("file:///etc/hostname", "m", prefix_id=1, vocabulary=9, max_length=9)


def only_generated(body):
    status, headers, content = well(body)
    logprobs = content["choices"][0]["logprobs"]
    for values in logprobs.values():
        del values[:-1]
    return status, headers, content


def retokenised(body):
    merged = body["prompt"][:2] + [
        token for token, before in zip(body["prompt"][2:], body["prompt"][1:], strict=False) if (token + before) % 3
    ]
    return 200, {}, completion(merged, rows_of(merged))


def second_bos(body):
    ids = [0, *body["prompt"]]
    return 200, {}, completion(ids, rows_of(ids))


def silent_second_bos(body):
    """A BOS of its own, and then the generated token left out, so that the count looks right."""
    ids = [0, *body["prompt"]]
    content = completion(ids, rows_of(ids))
    for values in content["choices"][0]["logprobs"].values():
        values.pop()
    return 200, {}, content


def without_logprobs(body):
    return 200, {}, {"choices": [{"index": 0, "text": "hello", "logprobs": None}]}


def looks_ahead(body):
    rows = rows_of(body["prompt"])
    rows[:-1] -= 0.3 * (1 + np.sin(body["prompt"][-1]))
    return 200, {}, completion(body["prompt"], rows)


def zeros(body):
    content = completion(body["prompt"], np.zeros((len(body["prompt"]), VOCABULARY)))
    content["choices"][0]["logprobs"]["top_logprobs"] = [{"one": 0.0} for _ in range(len(body["prompt"]) + 1)]
    return 200, {}, content


def too_likely(body):
    return 200, {}, completion(body["prompt"], rows_of(body["prompt"]) / 4)


def no_alternatives(body):
    status, headers, content = well(body)
    content["choices"][0]["logprobs"]["top_logprobs"] = None
    return status, headers, content


BROKEN_CONTRACTS = {
    "only generated tokens": (only_generated, "1 log-probabilities .* only generated tokens"),
    "prompt cut anew": (retokenised, "another list of tokens"),
    "automatic BOS": (second_bos, "another list of tokens"),
    "automatic BOS, right count": (silent_second_bos, "counted 26 prompt tokens for a prompt of 25"),
    "prefix dropped": (
        lambda body: (200, {}, completion(body["prompt"], rows_of(body["prompt"]), drop=2)),
        "24 log-probabilities",
    ),
    "no log-probabilities": (without_logprobs, "gives no log-probabilities with echo"),
    "shifted by one": (
        lambda body: (200, {}, completion(body["prompt"], rows_of(body["prompt"]), shift=1)),
        "shifted by one token",
    ),
    "later tokens count": (looks_ahead, "changes the scores of earlier tokens"),
    "zeros": (zeros, "log-probability 0 for every token"),
    "more than one": (too_likely, "and its alternatives a probability of .* together: expected at most 1"),
    "no alternatives": (no_alternatives, "no top_logprobs"),
}


@pytest.mark.parametrize("name", BROKEN_CONTRACTS)
def test_servers_that_break_the_contract_are_refused_at_connection(serve, name):
    answer, message = BROKEN_CONTRACTS[name]
    with pytest.raises(ContractError, match=message):
        connect(serve(answer))


def spoiled(position: int, value):
    def spoil(content):
        content["choices"][0]["logprobs"]["token_logprobs"][position] = value

    return spoil


LATER = {
    "NaN": (spoiled(2, float("nan")), "log-probability nan at position 1"),
    "infinite": (spoiled(2, float("-inf")), "log-probability -inf at position 1"),
    "positive": (spoiled(3, 0.25), "log-probability 0.25 at position 2"),
    "null": (spoiled(2, None), "left out the log-probability of token 1 of 4"),
    "wrong count": (
        lambda content: (
            content["choices"][0]["logprobs"]["token_logprobs"].pop(0)
            or content["choices"][0]["logprobs"]["token_logprobs"].pop(0)
        ),
        "4 log-probabilities",
    ),
    "two choices": (lambda content: content["choices"].append(content["choices"][0]), "choices"),
}


@pytest.mark.parametrize("name", LATER)
def test_bad_answers_after_a_good_start(serve, name):
    spoil, message = LATER[name]
    bad = []

    def answer(body):
        status, headers, content = well(body)
        if bad:
            spoil(content)
        return status, headers, content

    scorer = connect(serve(answer))
    bad.append(True)
    with pytest.raises(ScoringError, match=message):
        scorer.score([[3, 4, 5, 6]])


def test_first_failure_ends_the_others(serve):
    """A refusal among many requests does not wait for the long pauses of the rest."""
    broken = []

    def answer(body):
        if not broken:
            return well(body)
        return (400, {}, b"bad request") if len(body["prompt"]) == 4 else (503, {"Retry-After": "60"}, b"")

    scorer = connect(serve(answer), concurrency=4)
    broken.append(True)
    begin = time.monotonic()
    with pytest.raises(ServerError, match="HTTP 400"):
        scorer.score([[3, 4, 5], [3, 4], [3, 4, 5, 6], [7]])
    assert time.monotonic() - begin < 30


def later(serve, spoil):
    """A scorer whose server behaves at connection and hands its answers to ``spoil`` afterwards."""
    started = []

    def answer(body):
        status, headers, content = well(body)
        return (status, headers, spoil(content, body) or content) if started else (status, headers, content)

    scorer = connect(serve(answer), retries=0)
    started.append(True)
    return scorer


@pytest.mark.parametrize(
    "value", [-9999.0, -103.5, -1e30, -100.0, -50.0, -1000, True, False, "-1.0", [-1.0], {}, 10**400]
)
def test_no_stand_in_is_taken_for_a_score(serve, value):
    def spoil(content, body):
        content["choices"][0]["logprobs"]["token_logprobs"][3] = value

    with pytest.raises(ScoringError, match="no softmax gives this|expected a number|expected finite numbers"):
        later(serve, spoil).score(some_sequences())


@pytest.mark.parametrize("floor", [-9999.0, -100.0, float("-inf"), np.log(1e-10), np.log(2.0**-24), -30.0, -20.7])
@pytest.mark.parametrize("kept", [4, 19])
def test_cut_off_tokens_are_seen_at_connection(serve, floor, kept):
    """Whatever a server writes for the tokens that a default top_k of its own has cut off."""

    def answer(body):
        rows = rows_of(body["prompt"])
        cut = rows < np.sort(rows, axis=1)[:, [-kept]]
        rows = np.where(cut, floor, rows - np.log(np.where(cut, 0, np.exp(rows)).sum(1, keepdims=True)))
        content = completion(body["prompt"], rows)
        for entry, row in zip(content["choices"][0]["logprobs"]["top_logprobs"][1:], rows, strict=True):
            entry.update({f"t{token}": float(row[token]) for token in np.argsort(-row)[: min(kept, body["logprobs"])]})
        return 200, {}, content

    with pytest.raises(ScoringError, match="Switch|switch|expected finite numbers"):
        connect(serve(answer))


def test_a_clamp_is_seen_in_the_first_batch(serve):
    """Several different tokens with exactly one least score; a model whose tokens are all alike, or few-valued, has no floor."""
    rows = [np.float32([-11.5, -1.0, -2.0, -11.5, -11.5]), np.float32([-11.5, -3.0])]
    with pytest.raises(ContractError, match="4 different tokens exactly the same least log-probability, -11.5"):
        check_floor(rows, [np.arange(5), np.array([9, 10])], 40, "server")
    check_floor(rows, [np.array([7, 1, 2, 7, 7]), np.array([7, 10])], 40, "server")  # one rare token, four times
    check_floor([np.full(50, -np.log(50_000), np.float32)], [np.arange(50)], 50_000, "server")  # all tokens alike
    check_floor(
        [np.float32([-8.3] * 9 + [-0.1] * 3)], [np.arange(12)], 4000, "server"
    )  # one likely token, the others alike

    def clamp(content, body):
        scores = content["choices"][0]["logprobs"]["token_logprobs"]
        scores[1:] = [max(number * 3, -11.5) for number in scores[1:]]
        content["choices"][0]["logprobs"]["top_logprobs"] = None

    with pytest.raises(ContractError, match="different tokens exactly the same least log-probability, -11.5"):
        later(serve, clamp).score(some_sequences(40))


def test_sampling_defaults_are_switched_off_as_far_as_a_server_takes_it(serve):
    bodies = []

    def answer(body, most=20, known=("top_p", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_p")):
        bodies.append(body)
        extra = set(body) - {"model", "prompt", "max_tokens", "echo", "logprobs", "temperature", *known}
        return (422, {}, {"error": "extra"}) if extra or body["logprobs"] > most else well(body)

    everything = ("top_p", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_p", "typical_p")
    connect(serve(lambda body: answer(body, known=(*everything, "repetition_penalty")))).score([[3, 4]])
    sent = {name: bodies[-1][name] for name in (*everything, "repetition_penalty", "temperature", "logprobs")}
    assert sent == dict(
        top_p=1, presence_penalty=0, frequency_penalty=0, logit_bias={}, top_k=-1, min_p=0, typical_p=1
    ) | dict(repetition_penalty=1, temperature=1, logprobs=1)
    scorer = connect(serve(lambda body: answer(body, most=5)))
    assert scorer._settings == dict(top_p=1.0, presence_penalty=0.0, frequency_penalty=0.0, logit_bias={})
    with pytest.warns(RuntimeWarning, match="does not take top_p and penalties"):
        scorer = connect(serve(lambda body: answer(body, most=1, known=())))
    np.testing.assert_allclose(scorer.score([[3, 4, 5]])[0], expected_scores(np.array([3, 4, 5])), rtol=1e-6)


def test_one_deadline_and_one_bound_for_a_whole_answer(serve, monkeypatch):
    class Drip(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not done:
                    self.wfile.write(b" " * piece)
                    time.sleep(pause)

        def log_message(self, *arguments):
            pass

    done: list[bool] = []
    server = serve(well)
    server.RequestHandlerClass = Drip
    piece, pause = 1, 0.1
    begin = time.monotonic()
    with pytest.raises(ServerError, match=r"timed out: no whole answer within 0\.4 s"):
        connect(server, timeout=0.4, retries=1)
    assert time.monotonic() - begin < 2
    monkeypatch.setattr("l2m_utils.scoring.server._ANSWER_BYTES", 10_000)
    monkeypatch.setattr("l2m_utils.scoring.server._TOKEN_BYTES", 10)
    piece, pause = 5000, 0
    with pytest.raises(ServerError, match=r"an answer of more than 10,2\d0 bytes, which is not read further"):
        connect(server, timeout=5, retries=3)
    done.append(True)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve, code):
    asked = []

    def elsewhere(body):
        asked.append(body)
        return well(body)

    other = serve(elsewhere)
    with pytest.raises(ServerError, match=f"HTTP {code}.*redirects are not followed"):
        connect(serve(lambda body: (code, {"Location": other.url + "/completions"}, b"")), api_key="sk-secret")
    assert not asked


@pytest.mark.parametrize("key", ["sk-1\r", "sk-1\n", "\nsk-1", "sk\r\nX: 1", "schlüssel", "a\0b", "sk 1", "\u200bsk-1"])
def test_a_key_that_no_header_carries_is_refused_unseen(serve, key):
    with pytest.raises(ServerError, match="a character that no header can carry") as caught:
        connect(serve(well), api_key=key)
    assert key.strip() not in repr(traceback.format_exception(caught.value))


SECRET = "hunter2-hunter2"
ADDRESSES = [
    f"http://me:{SECRET}@127.0.0.1:9/v1",
    f"http://{SECRET}@127.0.0.1/v1",
    f"http://127.0.0.1:9/v1?key={SECRET}",
    f"http://127.0.0.1:9/v1#{SECRET}",
    f"http://me:{SECRET}/x@127.0.0.1/v1",
    f"ftp://{SECRET}/v1",
    f"http://[{SECRET}/v1",
    f"http://127.0.0.1:{SECRET}/v1",
    f"http://127.0.0.1:9/v1\n{SECRET}",
    "http://127.0.0.1:99999/v1",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_refused_unseen(address):
    with pytest.raises(ServerError, match="without user name, password, query") as caught:
        ServerScorer(address, "m", prefix_id=1, vocabulary=9, max_length=9)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["a", "null", "EMPTY", "token-abc123", "it's\"so\\", "%41%2F", "&lt;", "~!@#$%^&*()"])
def test_any_key_works_with_an_honest_server(serve, key):
    scorer = connect(serve(well), api_key=key)
    np.testing.assert_allclose(scorer.score([[3, 4, 5]])[0], expected_scores(np.array([3, 4, 5])), rtol=1e-6)


@pytest.mark.parametrize("key", ["hVklbspIa-6", "8signs-x", "sk-a-long-one-of-a-service"])
def test_a_key_that_comes_back_is_seen_nowhere(serve, key):
    """Not in the local variables of a traceback, either: a key of eleven signs was taken for a word of the answer."""
    import server_answers

    with pytest.raises(ServerError, match="repeats the key") as caught:
        connect(serve(lambda body: (200, {}, json.dumps(key).encode())), api_key=ApiKey(key))
    assert key not in server_answers.shown(caught.value)


def test_no_behaviour_of_a_server_gets_through():
    """The part of ``make attack`` that every run of the tests has: one try of each behaviour, and nothing lost."""
    import server_answers

    rows = server_answers.attack(48, seed=7)
    assert sum(row["tried"] for row in rows) == 48
    assert [(row["kind"], row["note"]) for row in rows if row["lost"]] == []


def test_the_attack_can_lose(monkeypatch):
    """A scorer that takes every number, and one that follows redirects, are found out."""
    import server_answers

    import l2m_utils.scoring.request as request
    import l2m_utils.scoring.server as library

    monkeypatch.setattr(library, "check_untruncated", lambda *arguments: None)
    monkeypatch.setattr(library, "check_floor", lambda *arguments: None)
    monkeypatch.setattr("l2m_utils.scoring.answers.check_each", lambda *arguments: None)
    monkeypatch.setattr(request._NoRedirect, "redirect_request", urllib.request.HTTPRedirectHandler.redirect_request)
    monkeypatch.setattr(request, "_refusal", lambda status, raw, key: raw.decode(errors="replace"))
    rows = {row["kind"]: row["note"] for row in server_answers.attack(40, seed=1)}
    assert "wrong scores were taken" in rows["server: forged numbers"]
    assert "the key went to another place" in rows["server: connection and key"]
    assert "the key was shown" in rows["server: connection and key"]
