"""The numbers of the atlas for its interactive figure, as a hidden element of the page.

The numbers are computed here; the script ``book/_static/widgets/atlas.js`` only moves the line of the demand and reads off L*.  Without
JavaScript the reader has the static figure of the same notebook.
"""

from __future__ import annotations

import html
import json

import numpy as np

from l2m_utils.state.atlas import family
from l2m_utils.state.condition import TextLaw
from l2m_utils.state.kinds import Architecture, StateError

CURVE_LENGTHS = np.unique(np.geomspace(2**8, 10**8, 61).round().astype(np.int64))


def payload(architectures: list[Architecture], law: TextLaw, bits: float = 16.0, vocabulary: int = 128_000) -> dict:
    """What the script draws: for each architecture its name, family, formula and dim z at the middle of each length.

    ``law`` and ``bits``, the bits that a number holds, are where its sliders stand at first.

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
        "bits": bits,
        "logM": float(np.log(vocabulary)),
        "source": law.source,
    }


def embedded(
    architectures: list[Architecture],
    law: TextLaw,
    colours: dict[str, str],
    bits: float = 16.0,
    identity: str = "l2m-atlas-data",
) -> str:
    """:func:`payload` in a hidden element, which the directive ``{widget} atlas`` finds by its ``identity``.

    ``colours`` maps families to CSS colours.  The string holds no script and no outside address.
    """
    data = payload(architectures, law, bits) | {"colours": colours}
    missing = sorted({family(one) for one in architectures} - set(colours))
    if missing:
        raise StateError(f"no colour for {', '.join(missing)}: give one for every family")
    values = html.escape(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    return f'<div id="{identity}" hidden data-values="{values}"></div>'
