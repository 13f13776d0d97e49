"""The atlas as a page that answers to sliders: one SVG and a few lines of our own JavaScript, nothing fetched.

The numbers are computed here and written into the page; the script in ``book/atlas/atlas.js`` only moves the line of the
demand and reads off L*.  Without JavaScript the reader has the static figure of the same notebook.
"""

from __future__ import annotations

import json

import numpy as np

from l2m_utils.project import PROJECT
from l2m_utils.state.atlas import family
from l2m_utils.state.condition import TextLaw
from l2m_utils.state.kinds import Architecture, StateError

SCRIPT = PROJECT / "book" / "atlas" / "atlas.js"
CURVE_LENGTHS = np.unique(np.geomspace(2**8, 10**8, 61).round().astype(np.int64))


def payload(architectures: list[Architecture], law: TextLaw, vocabulary: int = 128_000) -> dict:
    """What the script draws: for each architecture its name, family, formula and dim z at the middle of each length.

    >>> from l2m_utils.state.catalogue import model
    >>> from l2m_utils.state.condition import PUBLISHED_LAW
    >>> data = payload([model("GPT-2 small")], PUBLISHED_LAW)
    >>> data["models"][0]["z"][0], data["lengths"][0]          # 12 × 1536 × 128
    (2359296, 256)
    """
    if not architectures:
        raise StateError("no architecture to draw: give at least one")
    models = [
        {
            "name": a.name,
            "family": family(a),
            "formula": a.formula,
            "growth": a.growth,
            "exponent": a.exponent,
            "z": [a.at(max(int(length) // 2, 1)).elements for length in CURVE_LENGTHS],
        }
        for a in architectures
    ]
    return {
        "lengths": CURVE_LENGTHS.tolist(),
        "models": models,
        "beta": law.exponent,
        "prefactor": law.prefactor,
        "logM": float(np.log(vocabulary)),
        "source": law.source,
    }


def page(architectures: list[Architecture], law: TextLaw, colours: dict[str, str], identity: str = "l2m-atlas") -> str:
    """HTML with the data and the script: sliders for β, prefactor and bits per entry; hover or focus a line for its formula.

    ``colours`` maps families to CSS colours.  The string holds no outside address.
    """
    data = payload(architectures, law) | {"colours": colours, "identity": identity}
    missing = sorted({model["family"] for model in data["models"]} - set(colours))
    if missing:
        raise StateError(f"no colour for {', '.join(missing)}: give one for every family")
    # "</" would end the script element early.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div id="{identity}" class="l2m-atlas" role="group" aria-label="History state of {len(architectures)} architectures against length">'
        "<noscript>This figure needs JavaScript; the static figure of this page shows the same at the published law.</noscript></div>\n"
        f"<script>\n{SCRIPT.read_text()}\nl2mAtlas({text});\n</script>"
    )
