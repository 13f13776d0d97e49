"""The built site on the loopback address, and what its files weigh."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for all files of a page, as every host does

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on a free port; gives the address without a slash at its end."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def file_of(address: str, folder: Path) -> Path:
    """The file below ``folder`` that an address on our host means.

    >>> file_of("http://127.0.0.1:1/a%20b/c.html?digest=1#here", Path("site")).as_posix()
    'site/a b/c.html'
    """
    path = folder / unquote(urlsplit(address).path).lstrip("/")
    return path / "index.html" if path.is_dir() else path


@functools.lru_cache(maxsize=4096)
def weight(path: Path) -> tuple[int, int]:
    """Bytes of a file, as it lies there and gzipped as hosts do."""
    content = path.read_bytes()
    return len(content), min(len(content), len(gzip.compress(content, 6)))
