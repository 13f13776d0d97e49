"""Attacks by a server: what it may answer to a scorer, from a broken line to a forged probability.  ``attack(number, seed)`` is the whole of it.

One real server on loopback behaves in a way that is drawn for every try.  A try is *survived* when the scorer ends with a ``ScoringError`` of one
line within its time, or returns the scores that are right; it is *lost* when it returns others, raises anything else, takes too
long, or lets a key be seen: in the message, its causes, the local variables of the library, or at the host of a redirect.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import socketserver
import string
import threading
import time
import traceback
import urllib.parse
import warnings
from collections.abc import Callable

import numpy as np

from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.request import ApiKey
from l2m_utils.scoring.server import ServerScorer

VOCABULARY, SECONDS = 60, 0.4  # token ids; the deadline of one answer
SENTINELS = (-9999.0, -100.0, -1e9, -1000.0, float("-inf"), math.log(1e-10), math.log(1e-8), -50.0, -30.0, -20.7)
SEQUENCES = [np.random.default_rng(5).integers(0, VOCABULARY, size=length) for length in (12, 38, 7, 38, 38)]


def rows_of(ids) -> np.ndarray:
    """Log-probabilities (tokens, vocabulary) of what follows each token of a prompt: depends on all of the past, sums to one."""
    history = np.cumsum(np.sin(np.outer(np.asarray(ids) + 1.0, np.arange(1, VOCABULARY + 1))), axis=0)
    logits = 3 * np.sin(history)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def answer(body: dict, rows: np.ndarray | None = None) -> dict:
    """The agreed answer to a request, from ``rows`` of log-probabilities (by default the right ones)."""
    ids = body["prompt"]
    rows = rows_of(ids) if rows is None else rows
    scores, tops = [None], [None]
    for position, token in enumerate(ids[1:]):
        row = rows[position]
        best = np.argsort(-row)[: body["logprobs"]]
        tops.append({f"t{k}": float(row[k]) for k in {*best.tolist(), token} if np.isfinite(row[k])})
        scores.append(float(row[token]))
    listed = {"token_logprobs": scores, "top_logprobs": tops, "tokens": [f"t{token}" for token in ids]}
    return {"choices": [{"index": 0, "text": "", "logprobs": listed}], "usage": {"prompt_tokens": len(ids)}}


def http(status: int, content: bytes, *headers: str, length: int | None = None) -> bytes:
    """A response as bytes."""
    lines = [f"HTTP/1.1 {status} {headers[0] if headers else 'Whatever'}", *headers[1:]]
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    return "\r\n".join(lines).encode("latin1", "replace") + b"\r\n\r\n" + content


class Handler(socketserver.StreamRequestHandler):
    """Reads one request and lets the behaviour of its path write what it likes."""

    def handle(self):
        with contextlib.suppress(OSError, ValueError, KeyError):
            line = self.rfile.readline().decode("latin1")
            headers = {}
            while (header := self.rfile.readline().decode("latin1").strip()) != "":
                name, _, value = header.partition(":")
                headers[name.strip().lower()] = value.strip()
            path = line.split()[1]
            if path.startswith("/elsewhere"):
                self.server.elsewhere.append(headers.get("authorization"))
                self.wfile.write(http(200, b"{}"))
                return
            body = json.loads(self.rfile.read(int(headers["content-length"])))
            self.server.behaviours[path.split("/")[1]](self.wfile, body, headers)


class Server(socketserver.ThreadingTCPServer):
    """A server on loopback whose behaviours stand under the first part of the path."""

    daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: dict[str, Callable] = {}
        self.elsewhere: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no error here."""


def echoes(headers: dict, rng) -> bytes:
    """The key in one of the forms in which a server may send it back."""
    key = headers.get("authorization", "Bearer none").removeprefix("Bearer ")
    forms = [
        key,
        f"Bearer {key}",
        urllib.parse.quote(key, safe=""),
        base64.b64encode(key.encode()).decode(),
        json.dumps(key),
        key[::-1],
        " ".join(key),
        key[:-1],
        key.encode().hex(),
        "".join(f"&#{ord(character)};" for character in key),
    ]
    return forms[rng.integers(len(forms))].encode()


def transport(name: str, rng, server: Server) -> Callable:
    """A behaviour of the connection: ``write(stream, body, headers)``."""
    status = int(rng.choice([400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 599]))

    def drip(piece: bytes, before: bytes = b""):
        def write(stream, body, headers):
            stream.write(before)
            for _ in range(60):
                stream.write(piece)
                stream.flush()
                time.sleep(0.08)

        return write

    def flood(before: bytes, piece: bytes):
        def write(stream, body, headers):
            stream.write(before)
            for _ in range(400):
                stream.write(piece)

        return write

    def echo(stream, body, headers):
        said = echoes(headers, rng)
        more = f"X-Echo: {said.decode('latin1')}", f"Retry-After: {rng.choice(['0', 'nan', 'soon', '-5', '1e999'])}"
        stream.write(http(status, b'{"error": {"message": "no: ' + said + b'"}}', said.decode("latin1"), *more))

    where = str(rng.choice([server.url.replace("127.0.0.1", "localhost"), server.url, "//127.0.0.1:1", "file:///etc"]))
    code = int(rng.choice([301, 302, 303, 307, 308]))
    loop = rng.random() < 0.3

    def redirect(stream, body, headers):
        place = f"{server.url}/same/v1/completions" if loop else f"{where}/elsewhere/v1/completions"
        stream.write(http(code, b"", "Moved", f"Location: {place}"))

    def echo_as_answer(stream, body, headers):
        stream.write(http(200, echoes(headers, rng)))

    def broken_line(stream, body, headers):
        stream.write(echoes(headers, rng) + b"\r\n\r\n")

    head = b"HTTP/1.1 200 OK\r\n"
    return {
        "key echoed in an error": echo,
        "key echoed as the answer": echo_as_answer,
        "key echoed as the status line": broken_line,
        "redirect": redirect,
        "a byte at a time, body": drip(b" ", http(200, b"", length=10_000)),
        "a byte at a time, headers": drip(b"a", head + b"X: "),
        "a byte at a time, chunks": drip(b"1\r\n \r\n", head + b"Transfer-Encoding: chunked\r\n\r\n"),
        "a byte at a time, error": drip(b" ", http(500, b"", length=1000)),
        "interim responses": flood(b"", b"HTTP/1.1 100 Continue\r\nX: " + b"a" * 30_000 + b"\r\n\r\n"),
        "headers without an end": flood(head, b"X: " + b"a" * 30_000 + b"\r\n"),
        "a body without an end": flood(head + b"\r\n", b'{"a": 1, ' * 8000),
        "cut in the body": lambda stream, body, headers: stream.write(http(200, b'{"choices": [', length=1000)),
        "cut in an error": lambda stream, body, headers: stream.write(http(status, b"{", length=1000)),
        "no answer": lambda stream, body, headers: None,
        "bad length": lambda stream, body, headers: stream.write(head + b"Content-Length: -7\r\n\r\n{}"),
        "bad chunk": lambda stream, body, headers: stream.write(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "nested": lambda stream, body, headers: stream.write(http(200, b"[" * 200_000)),
        "other encoding": lambda stream, body, headers: stream.write(
            http(200, bytes(rng.integers(0, 256, 300, np.uint8)))
        ),
        "no content": lambda stream, body, headers: stream.write(b"HTTP/1.1 204 No Content\r\n\r\n"),
    }[name]


def odd(rng, depth: int = 0):
    """A random JSON-like value."""
    choices = [
        None,
        True,
        False,
        0,
        1,
        -1,
        -0.5,
        0.25,
        10**400,
        -(10**400),
        1e308,
        float("nan"),
        float("-inf"),
        "",
        "-1.0",
        "\ud800",
    ]
    kind = rng.integers(len(choices) + (4 if depth < 3 else 0))
    if kind < len(choices):
        return choices[kind]
    items = [odd(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    return items if kind % 2 else {f"{'abc'[n % 3]}{n}": item for n, item in enumerate(items)}


def mutated(found, rng):
    """A good answer with one part, anywhere in it, replaced by a random value, lost or doubled."""
    places = []

    def walk(node):
        for key in node.keys() if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(found)
    node, key = places[int(rng.integers(len(places)) ** 2 // len(places))]  # the outer parts more often
    if rng.random() < 0.7:
        value = odd(rng)
        if type(node[key]) is float and type(value) in (int, float) and -50 < value <= 0:
            value = "another number that a model could have given is no attack that can be seen"
        node[key] = value
    elif rng.random() < 0.5:
        del node[key]
    elif isinstance(node, list):
        node.insert(key, node[key])
    return found


def mutation(seed: int) -> Callable[[dict], dict]:
    """Good answers, each with the same draw of a damage."""
    return lambda body: mutated(answer(body), np.random.default_rng(seed))


def clamp(rows: np.ndarray, keep: int, stand_in: float) -> np.ndarray:
    """Only the ``keep`` likeliest tokens of each row, renormalised; ``stand_in`` for the others."""
    kept = rows >= np.sort(rows, axis=1)[:, [-keep]]
    total = np.log(np.where(kept, np.exp(rows), 0).sum(1, keepdims=True))
    return np.where(kept, rows - total, stand_in)


def forged(name: str, rng) -> Callable[[dict], dict]:
    """An answer of the right form with wrong numbers, at connection or only later."""
    stand_in, keep = float(rng.choice(SENTINELS)), int(rng.integers(1, 20))
    shift, factor, later = (
        int(rng.integers(1, 3)),
        float(rng.uniform(1.5, 4)),
        bool(rng.random() < 0.5) and name not in SEEN,
    )
    position = int(rng.integers(1, 7))

    def spoil(body: dict) -> dict:
        rows = rows_of(body["prompt"])
        if later and body["logprobs"] > 1:  # well behaved while it is looked at
            return answer(body)
        if name == WELL:
            return answer(body)
        if name == "likeliest tokens only":
            return answer(body, clamp(rows, keep, stand_in))
        if name == "a stand-in for one token":
            made = answer(body)
            made["choices"][0]["logprobs"]["token_logprobs"][position] = min(stand_in, -50.0)
            return made
        if name == "more than certain":
            return answer(body, rows / factor / 3)
        if name == "shifted":
            return answer(body, np.roll(rows, -shift, axis=0))
        if name == "as text or truth":
            made = answer(body)
            value = made["choices"][0]["logprobs"]["token_logprobs"][position]
            made["choices"][0]["logprobs"]["token_logprobs"][position] = rng.choice(
                np.array([str(value), False, True, [value]], object)
            )
            return made
        made = answer(body)
        made["choices"][0]["logprobs"]["token_logprobs"][position] = abs(rows[0, 0]) + 1e-3
        return made

    return spoil


TRANSPORT = (
    ["key echoed in an error"] * 6 + ["redirect"] * 4 + ["key echoed as the answer", "key echoed as the status line"] * 2
    + ["a byte at a time, body", "a byte at a time, headers", "a byte at a time, chunks", "a byte at a time, error"]
    + ["interim responses", "headers without an end", "a body without an end", "cut in the body", "cut in an error"]
    + ["no answer", "bad length", "bad chunk", "nested", "other encoding", "no content"]
)  # fmt: skip
# "shifted" and "more than certain" can only be seen while a server names its alternatives, so they do not wait until later.
FORGED = ["likeliest tokens only"] * 4 + ["a stand-in for one token"] * 3 + ["as text or truth", "positive"] * 2
SEEN = ["more than certain", "shifted"]
WELL = "well behaved"  # the control: refused, it would be lost


def some_key(rng) -> str:
    """A key as services make them, or with any sign that a header can carry."""
    letters = string.ascii_letters + string.digits + (string.punctuation if rng.random() < 0.5 else "-_")
    return "".join(rng.choice(list(letters), int(rng.integers(8, 60))))


def shown(error: BaseException) -> str:
    """All that a traceback can show of an error, with the local variables of the library."""
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = str(error) + repr(error)
    while found is not None:
        text += "".join(found.format_exception_only())
        text += "".join(str(frame.locals) for frame in found.stack if "l2m_utils" in frame.filename)
        found = found.__cause__ or found.__context__
    return text


def attempt(server: Server, behaviour: Callable, key: str, name: str) -> str:
    """Score against one behaviour; what was lost, or nothing."""
    server.behaviours["same"], server.elsewhere[:] = behaviour, []
    begun, said, problem = time.monotonic(), "", ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            scorer = ServerScorer(
                f"{server.url}/same/v1",
                "little",
                prefix_id=1,
                vocabulary=VOCABULARY,
                max_length=40,
                api_key=ApiKey(key),
                timeout=SECONDS,
                retries=1,
                backoff=0.001,
                concurrency=2,
            )
            for sequence, row in zip(SEQUENCES, scorer.score(SEQUENCES), strict=True):
                right = rows_of([1, *sequence])[np.arange(len(sequence)), sequence]
                if not np.allclose(row, right, rtol=0, atol=1e-5):
                    problem = f"{name}: wrong scores were taken, off by {np.abs(row - right).max():.3g} nats"
            said = repr(scorer.identity) + repr(scorer.__dict__)
        except ScoringError as error:
            said = shown(error)
            if name == WELL:
                problem = f"{name}: refused, {error}"
            if "\n" in str(error) or len(str(error)) > 900:
                problem = f"{name}: a message of {len(str(error))} characters"
        except Exception as error:  # what is looked for
            problem = f"{name}: {type(error).__name__}"
    said += " ".join(str(one.message) for one in warned)
    if any(
        form in said
        for form in (key, key[:-1], base64.b64encode(key.encode()).decode(), urllib.parse.quote(key, safe=""))
    ):
        problem = f"{name}: the key was shown"
    if any(server.elsewhere):
        problem = f"{name}: the key went to another place"
    if (took := time.monotonic() - begun) > 12 * SECONDS + 5:
        problem = f"{name}: {took:.0f} s"
    return problem


def attack(number: int, seed: int) -> list[dict]:
    """``number`` tries of each of three kinds in all, drawn with ``seed``: one row a kind, with what was lost in ``note``."""
    rng = np.random.default_rng(seed)
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    rows = []
    try:
        for share, kind in enumerate(
            ("server: connection and key", "server: malformed answers", "server: forged numbers")
        ):
            lost, tries = [], (number + 2 - share) // 3
            for turn in range(tries):
                key = some_key(rng)
                if share == 0:
                    name = TRANSPORT[(turn * 7 + seed) % len(TRANSPORT)]
                    behaviour = transport(name, rng, server)
                else:
                    name = (
                        (FORGED + SEEN + [WELL])[turn % len(FORGED + SEEN + [WELL])]
                        if share == 2
                        else f"mutation {turn}"
                    )
                    make = forged(name, rng) if share == 2 else mutation(int(rng.integers(1 << 31)))

                    def behaviour(stream, body, headers, make=make):
                        stream.write(http(200, json.dumps(make(body)).encode()))

                if problem := attempt(server, behaviour, key, name):
                    lost.append(problem)
            row = {"kind": kind, "tried": tries, "survived": tries - len(lost), "lost": len(lost)}
            rows.append(row | {"note": "; ".join(dict.fromkeys(lost))[:1000]})
    finally:
        server.shutdown()
        server.server_close()
    return rows
