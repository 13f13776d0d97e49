"""Show a built book on the loopback address."""

from __future__ import annotations

import argparse
import functools
import http.server
import sys

from l2m_utils.book.plan import BuildError, build_folder
from l2m_utils.project import PROJECT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", default="laptop")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--jobs", help="accepted so that make can pass the same options everywhere")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    html = build_folder(options.tier, options.corpus) / "html"
    if not (html / "index.html").exists():
        print(
            f"error: no book in {html.relative_to(PROJECT)}; run `make book` with the same TIER and CORPUS first",
            file=sys.stderr,
        )
        return 1
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(html))
    try:
        with http.server.ThreadingHTTPServer(("127.0.0.1", options.port), handler) as server:
            print(f"http://127.0.0.1:{options.port}   (Ctrl-C ends it)", flush=True)
            server.serve_forever()
    except OSError as error:
        raise SystemExit(f"error: port {options.port}: {error.strerror}; choose another with --port") from error
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as error:
        sys.exit(f"error: {error}")
