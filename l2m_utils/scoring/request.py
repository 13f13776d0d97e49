"""One request to a server: one deadline for the whole answer, a bound on its size, no redirect, and a key that nobody sees.

A server is not trusted.  It may send a byte every half second, an answer without an end, a redirect to another host, or an error that
repeats the key it was sent.  So what is reported of it are its status, our own words for that, and, only where no key was sent,
the first line of what it said.  Nothing here raises from inside a handler: a chained error would carry the server's words along.
"""

from __future__ import annotations

import email.utils
import http
import http.client
import io
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from l2m_utils.boundary import cut
from l2m_utils.scoring.base import ScoringError

_ADDRESS = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?(/([\w.~/-]|%[0-9a-f]{2})*)?", re.I | re.A)
_MOST_WORDS = 2000  # bytes of an error's text that are read
_LONG_KEY = 8  # characters from which a key is hardly a word of an answer by accident


class ServerError(ScoringError):
    """The server did not answer, or answered with an error that waiting does not cure."""


class ApiKey:
    """A key that shows itself to the server only: neither ``repr`` nor ``str`` holds it.  Empty for none.

    Raises :class:`ServerError`, which does not hold it either, for characters that a header cannot carry.

    >>> ApiKey("sk-12345"), bool(ApiKey(""))
    (<a key>, False)
    """

    __slots__ = ("__value",)

    def __init__(self, value: str):
        sound = all("!" <= character <= "~" for character in value)
        self.__value = value if sound else ""
        if not sound:
            del value  # a traceback that shows local variables shows no key
            raise ServerError(
                "the API key holds a character that no header can carry, such as the line end of a file that it was read from: "
                "set L2M_API_KEY to its letters, digits and signs alone"
            )

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return "<a key>" if self.__value else "<no key>"

    def __reduce__(self):
        raise TypeError("a key is not stored")

    def within(self, content: bytes) -> bool:
        """Whether a server has sent the key back, as it is or as JSON writes it; a short one (``null``) is in many answers and does not count."""
        forms = (self.__value, json.dumps(self.__value)[1:-1]) if len(self.__value) >= _LONG_KEY else ()
        return any(form.encode() in content for form in forms)

    def headers(self) -> dict[str, str]:
        """The header that carries it; none without a key."""
        return {"Authorization": f"Bearer {self.__value}"} if self.__value else {}


@dataclass(frozen=True)
class Reply:
    """What came back: HTTP ``status`` (0 when nothing whole came), the JSON ``content`` if it was one, else the ``problem`` in our words.

    ``lasting`` says that asking again would not help; ``asked`` are the seconds that the server asks to wait.
    """

    status: int = 0
    content: Any = None
    problem: str = ""
    lasting: bool = False
    asked: float = 0.0


def check_address(url: str) -> str:
    """The address without a slash at its end; :class:`ServerError`, which does not repeat it, if it is no plain http or https address.

    >>> check_address("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    >>> check_address("http://me:secret@localhost/v1")
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.request.ServerError: the address of the server is not used: expected http://HOST:PORT/v1 or https://HOST/v1, without user name, password, query and fragment; a key is read from the environment variable L2M_API_KEY
    """
    match = _ADDRESS.fullmatch(url)
    if match is None or int((match[2] or ":80")[1:]) not in range(1, 65536):
        del url, match
        raise ServerError(
            "the address of the server is not used: expected http://HOST:PORT/v1 or https://HOST/v1, without user name, password, "
            "query and fragment; a key is read from the environment variable L2M_API_KEY"
        )
    return url.rstrip("/")


def exchange(url: str, body: dict, key: ApiKey, *, seconds: float, limit: int) -> Reply:
    """POST ``body`` as JSON and read the answer, all of it within ``seconds`` and ``limit`` bytes, headers included.

    Nothing is raised for what a server or the network can do; it is the ``problem`` of the reply.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"} | key.headers()
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    opener = urllib.request.build_opener(_Http(seconds, limit), _Https(seconds, limit), _NoRedirect)
    status, asked, raw = 0, 0.0, b""
    try:
        try:
            with opener.open(request, timeout=seconds) as response:
                status, raw = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, asked = error.code, retry_after(error.headers.get("Retry-After"))
                raw = error.read(_MOST_WORDS)
                return Reply(status, problem=_refusal(status, raw, key), asked=asked)
    except _TooLong:
        return Reply(problem=f"an answer of more than {limit:,} bytes, which is not read further", lasting=True)
    except Exception as error:  # whatever a broken connection or a broken answer makes the client stumble over
        return Reply(problem=(f"HTTP {status}, and " if status else "") + _broken(error, seconds), asked=asked)
    if key.within(raw):
        return Reply(
            status,
            problem=f"HTTP {status} and an answer that repeats the key; it is not read (a key that is a word of any text is none: use another)",
            lasting=True,
        )
    try:
        return Reply(status, json.loads(raw))
    except (ValueError, RecursionError):
        return Reply(problem=f"HTTP {status} with something else than JSON")


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
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _refusal(status: int, raw: bytes, key: ApiKey) -> str:
    """An HTTP error in our words; the server's own only where there is no key that they could repeat."""
    try:
        name = f"HTTP {status}: {http.HTTPStatus(status).phrase}"
    except ValueError:
        name = f"HTTP {status}"
    if 300 <= status < 400:
        return f"{name}; redirects are not followed, so that no key goes to another place: give the final address"
    hints = {401: "the key in L2M_API_KEY is not accepted", 403: "the key in L2M_API_KEY may not do this"}
    hints |= {404: "is the address right up to /v1, and the model's name?"}
    if hint := hints.get(status, ""):
        name = f"{name} ({hint})"
    if key:
        return f"{name}; its own words are not shown, because a key was sent"
    said = cut(raw.decode(errors="replace"), 200)
    return f"{name}; it says: {said}" if said else name


def _broken(error: BaseException, seconds: float) -> str:
    """What broke, in our words and those of the operating system; never those of the server."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"timed out: no whole answer within {seconds:g} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "its certificate is not accepted"
    if isinstance(reason, ssl.SSLError):
        return "no TLS connection"
    if isinstance(reason, socket.gaierror):
        return "no host of this name"
    if isinstance(reason, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return "the answer broke off"
    if isinstance(reason, OSError) and reason.strerror:
        return f"{type(reason).__name__}: {reason.strerror}"
    return f"no HTTP answer ({type(reason).__name__})" if isinstance(reason, BaseException) else "no connection"


class _TooLong(Exception):
    """The answer is longer than its bound."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments, **named):
        """None: a redirect is an error like any other, and its address is not asked."""
        return None


class _Bounded(io.RawIOBase):
    """The bytes of a connection up to a moment and a number; each read waits only as long as is left."""

    def __init__(self, connection: socket.socket, deadline: float, limit: int):
        self._connection, self._deadline, self._left = connection, deadline, limit
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise _TooLong
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _bounded(kind: type[http.client.HTTPConnection], seconds: float, limit: int):
    """Connections of a ``kind`` whose responses are read through :class:`_Bounded`."""
    deadline = time.monotonic() + seconds

    def connection(host: str, **options) -> http.client.HTTPConnection:
        made = kind(host, **options)

        def response(connected, *arguments, **named) -> http.client.HTTPResponse:
            stand_in: Any = _Reader(connected, deadline, limit)
            return http.client.HTTPResponse(stand_in, *arguments, **named)

        setattr(made, "response_class", response)  # noqa: B010 (its type says a class, a function does)
        return made

    return connection


class _Reader:
    """What ``http.client`` asks of a socket that it reads from."""

    def __init__(self, connection: socket.socket, deadline: float, limit: int):
        self._arguments = connection, deadline, limit

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(*self._arguments))


class _Http(urllib.request.HTTPHandler):
    def __init__(self, seconds: float, limit: int):
        super().__init__()
        self._connection: Any = _bounded(http.client.HTTPConnection, seconds, limit)

    def http_open(self, req):
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, seconds: float, limit: int):
        super().__init__()
        self._connection: Any = _bounded(http.client.HTTPSConnection, seconds, limit)

    def https_open(self, req):
        return self.do_open(self._connection, req)
