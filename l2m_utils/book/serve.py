"""Show a built book on the loopback address."""

from __future__ import annotations

import contextlib
import functools
import http.server
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import named


def serve(folder: Path, port: int) -> None:
    """Serve ``folder/html`` at 127.0.0.1 until interrupted; port 0 takes a free one.

    Raises :class:`BuildError` when there is no book or the port is taken.
    """
    html = folder / "html"
    if not (html / "index.html").exists():
        raise BuildError(f"no book in {named(html)}; run `make book` with the same TIER and CORPUS first")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(html))
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
