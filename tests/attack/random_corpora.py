"""Texts made from a seed, in many scripts and shapes: what the first check of a build is held against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# Letters from which words are made; the last two scripts write no spaces between words.
SCRIPTS = {
    "latin": "etaoinshrdlcumwfgypbvk",
    "german": "enisratdhulcgmobwäöüß",
    "greek": "αοιετσνηυρπκμλωδγ",
    "cyrillic": "оеаинтсрвлкмдпуяыьгзб",
    "arabic": "اليمنترهوسدعبكقفحج",
    "hebrew": "יוהלאתרבשמנדכקפע",
    "devanagari": "कनरतसहमपयलवदबगजिीाेो",
    "emoji": "😀🌍🚀🎵📚🐟ab",
    "japanese": "のにはをたがでとしれさるいうあっなこまらり日人大本国時学生",
    "chinese": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年",
}
STOPS = {"japanese": "。", "chinese": "。", "devanagari": " । "}
WITHOUT_SPACES = ("japanese", "chinese")
SHAPES = ("prose", "verse", "code", "repeated", "one-line", "numbers", "spaces", "log")


def words(script: str, rng: np.random.Generator, number: int = 200) -> list[str]:
    """``number`` words of 1 to 9 letters."""
    letters = list(SCRIPTS[script])
    weight = 1 / np.arange(1, len(letters) + 1)
    ends = rng.integers(1, 10, number).cumsum()
    drawn = "".join(rng.choice(letters, ends[-1], p=weight / weight.sum()))
    return [drawn[start:end] for start, end in zip([0, *ends[:-1]], ends)]


def text(script: str, shape: str, size: int, rng: np.random.Generator) -> str:
    """About ``size`` characters of a shape, the words drawn by Zipf's law."""
    lexicon = words(script, rng)
    rank = 1 / np.arange(1, len(lexicon) + 1)
    order = rng.choice(len(lexicon), size // 2 + 40, p=rank / rank.sum())
    space, stop = "" if script in WITHOUT_SPACES else " ", STOPS.get(script, ". ")
    lines: list[str] = []
    used = length = 0
    while length < size:
        taken = [lexicon[i] for i in order[used : used + int(rng.integers(3, 15))]] or lexicon[:5]
        used = (used + len(taken)) % max(1, len(order) - 20)
        plain = space.join(taken)
        line = {
            "prose": plain.capitalize() + stop + ("\n\n" if rng.random() < 0.1 else ""),
            "verse": plain + ("\n\n" if rng.random() < 0.25 else "\n"),
            "code": "    " * int(rng.integers(4)) + f"{taken[0]}_{used} = f({', '.join(taken[1:4])})\n",
            "repeated": lexicon[0].capitalize() + space + space.join(lexicon[1:6]) + stop,
            "one-line": plain + space,
            "numbers": " ".join(str(int(n)) for n in rng.integers(10**6, size=5)) + "\n",
            "spaces": plain + " " * int(rng.integers(1, 60)),
            "log": f"2026-11-{used % 28 + 1:02d} {used % 24:02d}:00:00 {taken[0]} {plain}\n",
        }[shape]
        lines.append(line)
        length += len(line)
    return "".join(lines)


def corpus(number: int, seed: int) -> list[str]:
    """The texts of corpus ``number``: 1 to 12 of them, of some ten to a few thousand characters, of one script or of several."""
    rng = np.random.default_rng([seed, number])
    how_many = int(rng.choice([1, 2, 3, 4, 5, 6, 8, 12]))
    sizes = np.exp(rng.normal(np.log(rng.choice([150, 400, 800, 1500])), rng.choice([0.05, 0.3, 1.0]), how_many))
    scripts, shapes = rng.choice(list(SCRIPTS), 2), rng.choice(SHAPES, 2)
    return [
        text(str(rng.choice(scripts)), str(rng.choice(shapes)), int(min(size, 4_000)), rng) for size in sizes.round()
    ]


def write(texts: list[str], folder: Path) -> Path:
    """The texts as one JSONL file below ``folder``; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "texts.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(i), "text": each}, ensure_ascii=False) + "\n" for i, each in enumerate(texts)),
        encoding="utf-8",
    )
    return path
