"""How large the text of an SVG file is drawn, from the file alone: text that stays text, and text that Matplotlib wrote as outlines."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SCALE = re.compile(rf"scale\(\s*({_NUMBER})(?:[\s,]+({_NUMBER}))?\s*\)")
_SIZE = re.compile(rf"(?:font-size\s*:|font\s*:[^;]*?)\s*({_NUMBER})(px|pt)?")
# Matplotlib draws a glyph at 100 units an em inside `<g id="text_…"><g transform="… scale(s -s)">`.
_UNITS = 100


def text_sizes(svg: str | bytes, width: float) -> list[tuple[float, str]]:
    """Size in CSS pixels of each text of an SVG that is shown ``width`` pixels wide, with what it says where the file tells.

    A text counts with its own size: exponents within it are smaller and belong to it.

    >>> text_sizes('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 90"><text style="font: 10px sans">nats</text></svg>', 100)
    [(5.0, 'nats')]
    """
    try:
        root = ElementTree.fromstring(svg, ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True)))
    except ElementTree.ParseError:
        return []
    box = re.split(r"[\s,]+", root.get("viewBox", "").strip())
    across = float(box[2]) if len(box) == 4 else float(re.sub(r"[^\d.]", "", root.get("width", "")) or 0)
    if not across:
        return []
    return [(round(size * width / across, 2), said) for size, said in _texts(root, 1.0, 16.0)]


def _font(element, inherited: float) -> float:
    style = f"{element.get('style', '')};font-size:{element.get('font-size')}"
    found = _SIZE.search(style)
    return float(found[1]) * (4 / 3 if found[2] == "pt" else 1) if found else inherited


def _written(element, font: float):
    """Font sizes in which a text has characters."""
    if (element.text or "").strip():
        yield font
    for child in element:
        if isinstance(child.tag, str):
            yield from _written(child, _font(child, font))
        if (child.tail or "").strip():
            yield font


def _texts(element, scale: float, font: float):
    """Texts below ``element``, in units of the whole drawing; ``font`` is the size that is inherited."""
    if not isinstance(element.tag, str):
        return
    tag = element.tag.rpartition("}")[2]
    for across, down in _SCALE.findall(element.get("transform", "")):
        scale *= abs(float(down or across))
    font = _font(element, font)
    if tag in ("defs", "metadata", "style"):
        return
    if tag == "text":
        if said := " ".join("".join(element.itertext()).split()):
            yield scale * max(_written(element, font)), said
        return
    if tag == "g" and re.fullmatch(r"text_\d+", element.get("id", "")):
        said = next((child.text for child in element if child.tag is ElementTree.Comment), "") or ""
        for child in element.iter():
            if (
                isinstance(child.tag, str)
                and child.tag.endswith("}g")
                and (found := _SCALE.search(child.get("transform", "")))
            ):
                yield scale * abs(float(found[2] or found[1])) * _UNITS, said.strip()
                return
    for child in element:
        yield from _texts(child, scale, font)
