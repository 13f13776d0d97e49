"""The Content-Security-Policy of a page: what runs are the scripts of the book's own files and the few inline lines of the theme.

A page that is opened as a file has no server to send the policy, so it stands in the page.  Inline styles are allowed, because the
typesetting of formulas writes them; inline scripts are not, but for those of :data:`THEME`, each by the hash of its text.
"""

from __future__ import annotations

import base64
import hashlib
import re

from l2m_utils.book.errors import BuildError

# The inline scripts that the theme and its extensions write, whole; what else stands inline ends the build.
THEME = tuple(
    re.compile(pattern, re.S)
    for pattern in (
        r"document\.documentElement\.dataset\.mode = localStorage\.getItem\(\"mode\"\) \|\| \"\w*\";\s*"
        r"document\.documentElement\.dataset\.theme = localStorage\.getItem\(\"theme\"\) \|\| \"\w*\";",
        r"let toggle\w+ = '[^'\\]*';",
        r"var togglebuttonSelector = '[^'\\]*';",
        r"DOCUMENTATION_OPTIONS\.\w+ = ('[^'\\]*'|true|false);",
        r"window\.MathJax = \{[\w\s\"|{}:,\[\]/-]*\}",
    )
)
# Left out: Thebe would run cells on a server elsewhere; the search field is focused by a script of ours.
_NOT_OURS = re.compile(
    r"""<script(?:[^>]*type="text/x-thebe-config"[^>]*>.*?|[^>]*sphinx-thebe\.js[^>]*>|>const\ THEBE_JS_URL.*?|>kernelName\ =.*?"""
    r"""|>\s*//\ Activate\ the\ search\ field.*?)</script>|<link[^>]*sphinx-thebe\.css[^>]*>""",
    re.S | re.X,
)
_INLINE = re.compile(r"<script(?![^>]*\ssrc=)([^>]*)>(.*?)</script>", re.S)
_DATA = re.compile(r'type="(?!(?:text|application)/(?:x-)?(?:java|ecma)script|module)[\w.+/-]+"', re.I)
_HANDLER = re.compile(r"<\w+(?:\s[^<>]*)?\s(on[a-z]+)=[\"']", re.I)
# Buttons of the theme; `book/_static/l2m.js` listens to what stands in their place.
_BUTTONS = {'onclick="window.print()"': "data-l2m-print", 'onclick="toggleFullScreen()"': "data-l2m-fullscreen"}
POLICY = "default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'"


def hash_of(script: str) -> str:
    """The source expression of an inline script.

    >>> hash_of("alert(1)")
    "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def secured(text: str, page: str) -> str:
    """The page with its policy and without what the policy forbids.

    Raises :class:`BuildError` naming ``page`` when it has an inline script or handler that is none of the theme.
    """
    text = _NOT_OURS.sub("", text)
    for old, new in _BUTTONS.items():
        text = text.replace(old, new)
    seen: list[str] = []

    def once(match: re.Match) -> str:
        script = match[2]
        if _DATA.search(match[1]):
            return match[0]
        if script in seen:  # the theme repeats itself
            return ""
        if not any(pattern.fullmatch(script.strip()) for pattern in THEME):
            raise BuildError(
                f"{page}: an inline script, which the Content-Security-Policy forbids: {script.strip()[:60]!r}; "
                "put it into a file of book/_static"
            )
        seen.append(script)
        return match[0]

    text = _INLINE.sub(once, text)
    handler = _HANDLER.search(text)
    if handler:
        raise BuildError(
            f"{page}: {handler[1]} on an element, which the Content-Security-Policy forbids: {handler[0][:80]!r}"
        )
    policy = POLICY.format(hashes="".join(f" {hash_of(script)}" for script in seen))
    return text.replace(
        '<meta charset="utf-8" />',
        f'<meta charset="utf-8" />\n    <meta http-equiv="Content-Security-Policy" content="{policy}" />',
        1,
    )
