"""Show a built book on the loopback address, and nothing else to nobody else."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import named

# A page of another name that points here (DNS rebinding) must not read the book through the reader's browser.
_OURS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files below one folder: no listings, no links that lead out of it, no foreign host."""

    def send_head(self):
        if not all(_OURS.fullmatch(host.strip()) for host in self.headers.get_all("Host", [])):
            return self.send_error(HTTPStatus.FORBIDDEN, "This server answers on 127.0.0.1 and localhost only")
        if "\0" in unquote(self.path):
            return self.send_error(HTTPStatus.BAD_REQUEST, "The path holds a NUL character")
        root, path = Path(self.directory).resolve(), Path(self.translate_path(self.path))
        try:
            inside = all(
                each.resolve().is_relative_to(root) for each in (path, path / "index.html", path / "index.htm")
            )
        except (OSError, RuntimeError):  # a circle of links, or a name longer than the system takes
            inside = False
        if not inside:
            return self.send_error(HTTPStatus.NOT_FOUND, "File not found")
        return super().send_head()

    def list_directory(self, path):
        return self.send_error(HTTPStatus.NOT_FOUND, "File not found")


def serve(folder: Path, port: int) -> None:
    """Serve ``folder/html`` at 127.0.0.1 until interrupted; port 0 takes a free one.

    Raises :class:`BuildError` when there is no book or the port is taken.
    """
    html = folder / "html"
    if not (html / "index.html").exists():
        raise BuildError(f"no book in {named(html)}; run `make book` with the same TIER and CORPUS first")
    handler = functools.partial(_Handler, directory=str(html))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise BuildError(
            f"port {port}: {getattr(error, 'strerror', None) or error}; choose another with --port"
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_address[1]}   (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
