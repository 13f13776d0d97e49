"""Make the pages light: of the style sheets the rules that some page can use, of the icons those that a rule or a page names.

The theme brings 1.5 MB of icons and 0.4 MB of styles to each page, of which a page shows a dozen and a quarter.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

# Kept whatever pages say: states that scripts of the theme make up from pieces.
_KEPT = {"show", "collapse", "collapsing", "fade", "active"}
_ATTRIBUTES = re.compile(r"""\b(?:class|id|className)\s*=\s*["']([^"']*)["']""")
_NAMED = re.compile(r"[.#](-?[A-Za-z_][\w-]*)")
_QUOTED = re.compile(r"""\[[^\]]*\]|"[^"]*"|'[^']*'""")
_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|/\*.*?\*/""", re.S)
_MARK = re.compile(r"""["](?:\\.|[^"\\])*["]|['](?:\\.|[^'\\])*[']|[{};]""", re.S)
_PRIVATE = re.compile("[\ue000-\uf8ff]|\\\\([ef][0-9a-f]{3})\\b")
_FONT = re.compile(r"""src:url\(["']?([^"')]+)\.woff2["']?\)[^;}]*?url\(["']?\1\.ttf["']?\)[^;}]*""")


def names_in(html: Path) -> set[str]:
    """Every class and id that a page has or that a script may give, as words."""
    found = set(_KEPT)
    for path in sorted(html.rglob("*.html")):
        for words in _ATTRIBUTES.findall(path.read_text(encoding="utf-8")):
            found.update(words.split())
    for path in sorted(html.rglob("*.js")):
        if "mathjax" not in path.parts and path.name != "searchindex.js":
            found.update(re.findall(r"[A-Za-z_-][\w-]*", path.read_text(encoding="utf-8", errors="replace")))
    return found


def statements(css: str) -> list[tuple[str, str | None]]:
    """The rules of a style sheet: what stands before the braces and within, or a statement that has none; comments are left out.

    >>> statements('@charset "utf-8";a,b{c:"}"}/* d{} */@media e{f{g:h}}')
    [('@charset "utf-8"', None), ('a,b', 'c:"}"'), ('@media e', 'f{g:h}')]
    """
    found: list[tuple[str, str | None]] = []
    css = _COMMENT.sub(lambda match: match[1] or "", css)
    depth = start = opened = 0
    for match in _MARK.finditer(css):
        mark = match[0]
        if mark == "{":
            depth += 1
            opened = match.start() if depth == 1 else opened
        elif mark == "}":
            depth -= 1
            if not depth:
                found.append((css[start:opened].strip(), css[opened + 1 : match.start()]))
                start = match.end()
        elif mark == ";" and not depth:
            found.append((css[start : match.start()].strip(), None))
            start = match.end()
    return found


def pruned(css: str, names: set[str]) -> str:
    """The style sheet without the rules whose every selector asks for a class or an id that is not among ``names``.

    >>> pruned(".a{x:y}.b .a,.a:not(.c){x:z}@media print{.b{x:y}}", {"a", "c"})
    '.a{x:y}.a:not(.c){x:z}'
    """
    kept = []
    for prelude, content in statements(css):
        if content is None:
            kept.append(f"{prelude};")
        elif prelude.startswith(("@media", "@supports")):
            inside = pruned(content, names)
            kept += [f"{prelude}{{{inside}}}"] if inside else []
        elif prelude.startswith("@"):
            kept.append(f"{prelude}{{{content}}}")
        else:
            used = [one for one in _split(prelude) if _used(_needed(_QUOTED.sub("", one)), names)]
            kept += [f"{','.join(used)}{{{content}}}"] if used else []
    return "".join(kept)


def _used(selector: str, names: set[str]) -> bool:
    """Whether all names that a selector asks for are known, or ours, which scripts and the PDF give."""
    return all(name in names or name.startswith("l2m-") for name in _NAMED.findall(selector))


def _split(prelude: str) -> list[str]:
    """The selectors of a rule: split at commas outside brackets."""
    if "(" not in prelude and "[" not in prelude:
        return [one.strip() for one in prelude.split(",")]
    parts, depth = [""], 0
    for character in prelude:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [one.strip() for one in parts]


def _needed(selector: str) -> str:
    """What a selector needs: nothing of what stands in ``:not(…)``, ``:is(…)``, ``:where(…)`` or ``:has(…)``, which may be alternatives."""
    old = ""
    while old != selector:
        old, selector = selector, re.sub(r":(?:not|is|where|has)\([^()]*\)|\([^()]*\)", "", selector)
    return selector


def lean(html: Path) -> None:
    """Prune the style sheets of a site, then cut its icon fonts down to the characters that styles and pages still name."""
    names = names_in(html)
    sheets = sorted(path for path in html.rglob("*.css"))
    for path in sheets:
        path.write_text(pruned(path.read_text(encoding="utf-8"), names), encoding="utf-8")
    for path in html.rglob("*.js"):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "sourceMappingURL" in text and "mathjax" not in path.parts:
            path.write_text(re.sub(r"(?m)^//# sourceMappingURL=\S+\n?", "", text), encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in sheets]
    icons = {
        ord(match[0]) if len(match[0]) == 1 else int(match[1], 16) for t in texts for match in _PRIVATE.finditer(t)
    }
    fonts = {path: _small_font(path, icons) for path in sorted(html.rglob("*/fontawesome/webfonts/*.ttf"))}
    for path, text in zip(sheets, texts, strict=True):
        new = _FONT.sub(lambda match: f'src:url({match[1]}.woff) format("woff")', text)
        if new != text:
            path.write_text(new, encoding="utf-8")
    for path, font in fonts.items():
        path.with_suffix(".woff").write_bytes(font)
        path.unlink()


def _small_font(path: Path, characters: set[int]) -> bytes:
    """The font at ``path`` with the glyphs of some characters only, as WOFF, under a name of its own."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    font = TTFont(path, recalcTimestamp=False)
    options = subset.Options()
    options.hinting = False
    options.notdef_outline = True
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=characters)
    cutter.subset(font)
    # The licence of Font Awesome reserves its name for fonts that nobody changed.
    for record in list(font["name"].names):
        if record.nameID in (1, 3, 4, 6, 16, 18):
            place = (record.platformID, record.platEncID, record.langID)
            font["name"].setName("L2M-icons", record.nameID, *place)
    font.flavor = "woff"
    new = io.BytesIO()
    font.save(new)
    return new.getvalue()
