"""Docstrings younger than the ruler: which ones they are, what they cost, and what is refused, on wheels that are made here."""

from __future__ import annotations

import hashlib
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from l2m_utils.experiments import younger, younger_text
from l2m_utils.experiments import younger_rules as rules
from l2m_utils.experiments.ladder_text import ByteTokens
from l2m_utils.experiments.younger_wheels import PACKAGES_COMPARED, ThreeWheels, Wheel
from l2m_utils.records import Recorder, load_values, read_table
from l2m_utils.scoring.base import ScoringError
from l2m_utils.text.tokens import train_bpe

WORDS = np.array(
    [
        "river",
        "stone",
        "window",
        "garden",
        "paper",
        "engine",
        "mirror",
        "forest",
        "copper",
        "silver",
        "ladder",
        "button",
        "harbour",
        "candle",
    ]
)


def prose(seed: int, words: int = 60) -> str:
    """Words in random order, in lines of ten: next to no run of eight stands in two of them."""
    chosen = np.random.default_rng(seed).choice(WORDS, words)
    return "\n".join(" ".join(chosen[at : at + 10]) for at in range(0, words, 10))


def module(*texts: str) -> str:
    """A Python file with a function for each docstring; running it would end the test."""
    functions = [f'def f{i}():\n    """{text}"""\n' for i, text in enumerate(texts)]
    return "\n".join(["raise SystemExit('this file was run')", *functions])


def write_wheel(folder, project: str, version: str, files: dict[str, str | bytes]) -> Wheel:
    name = project.replace("-", "_")
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{name}/{file}", text)
        # A Python that is not this one, and something that is nowhere: neither matters to text that is read.
        meta = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Python: >=9\nRequires-Dist: nowhere\n"
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(project, version, "2024-01-01", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index that is a folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_a_wheel_is_fetched_once_and_read_as_text(index, tmp_path):
    wheel = write_wheel(index, "tiny-text", "1.0", {"a.py": module("One."), "b.bin": b"\xff", "c.py": b"\xff\xfe"})
    path = younger_text.wheel_file(wheel, tmp_path / "cache")
    for left in index.iterdir():
        left.unlink()
    assert younger_text.wheel_file(wheel, tmp_path / "cache") == path
    assert younger_text.python_files(path) == {"tiny_text/a.py": module("One.")}
    assert younger_text.python_files(path, most_file=10) == {}
    with pytest.raises(ValueError, match="more than 20 bytes of Python"):
        younger_text.python_files(path, most=20)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is no wheel"):
        younger_text.python_files(path)
    with pytest.raises(ScoringError, match="the index that pip is set to does not have it: use another index$"):
        younger_text.wheel_file(wheel, tmp_path / "cache")  # what was damaged is not used


def test_another_wheel_than_the_pinned_one_is_not_opened(index, tmp_path):
    wheel = write_wheel(index, "tiny-text", "1.0", {"a.py": module("One.")})
    with pytest.raises(ScoringError, match="another SHA-256 than the one pinned") as error:
        younger_text.wheel_file(wheel._replace(sha256="0" * 64), tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_is_one_line_without_an_address(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    wheel = Wheel("tiny-text", "1.0", "2024-01-01", 5, "0" * 64)
    with pytest.raises(ScoringError, match="tiny-text 1.0 cannot be fetched from the package index") as error:
        younger_text.wheel_file(wheel, tmp_path)
    assert not any(word in str(error.value) for word in ("secret", "127.0.0.1", "\n", "GGUF", "gguf"))


def test_kinds_against_a_truth_by_hand():
    old, gone, late, new = (prose(seed) for seed in range(4))
    moved, short, foreign = prose(5), "Too short.", prose(6) + " é"
    half = "\n".join([*prose(7).splitlines()[:3], *prose(8).splitlines()[:3]])
    early = {"p/a.py": module(old, gone)}
    before = {"p/a.py": module(old, late), "p/b.py": "# " + " ".join(moved.split()) + f'\nx = """{prose(7)}"""\n'}
    indented = old.replace("\n", "\n    ")
    after = {"p/c.py": module(indented, late, new), "p/d.py": module(new, moved, half, short, foreign)}
    found = younger_text.two_kinds(early, before, after)
    assert found == {
        "older": [
            younger_text.Drawable("p/c.py", old)
        ],  # not what was new in the second release, however it is indented
        "younger": [younger_text.Drawable("p/c.py", new)],  # once; no comment that became one, none that is half known
    }


def test_files_take_turns_and_repeats_are_left_out():
    texts = [younger_text.Drawable("many.py", prose(seed)) for seed in range(6)]
    texts += [younger_text.Drawable("one.py", prose(10)), younger_text.Drawable("two.py", prose(10) + "\nand more")]
    drawn = younger_text.drawn_order(texts, np.random.default_rng(0))
    assert sorted(drawn[:2])[0] in {text.text for text in texts[:6]} | {prose(10), prose(10) + "\nand more"}
    assert len(drawn) == 7 and sum(text.startswith(prose(10)) for text in drawn[:2]) == 1
    assert drawn == younger_text.drawn_order(texts, np.random.default_rng(0))


def test_blocks_begin_with_a_text_and_their_characters_are_those_of_their_tokens():
    texts = [prose(seed) for seed in range(12)]
    tokenizer = train_bpe(texts, 300)
    blocks = younger_text.packed(texts, tokenizer, 3, 150)
    assert len(blocks) == 3
    joined = "\n\n".join(texts)
    for block in blocks:
        assert block.text in joined and any(text.startswith(block.text[:50]) for text in texts)
        assert tokenizer.decode(block.ids.tolist()) == block.text
        assert block.ends.tolist() == ByteTokens(tokenizer).ends(block.ids).tolist()
    assert len(younger_text.packed(texts[:1], tokenizer, 3, 150)) < 3


class CountingScorer:
    """A token costs 1/(1 + tokens before it), and no more than that depends on it."""

    identity = {"model": "counting", "revision": "0", "dtype": "float64"}

    def score(self, sequences):
        return [-1 / np.arange(1.0, len(sequence) + 1) for sequence in sequences]


def test_scores_of_a_block_against_sums():
    ends = np.arange(0, 3 * rules.DOCSTRING_BLOCK + 1, 3)
    block = younger_text.TextBlock(np.zeros(rules.DOCSTRING_BLOCK, int), "x" * ends[-1], ends)
    found = younger.block_scores(CountingScorer(), block)
    harmonic = np.cumsum(1 / np.arange(1, rules.DOCSTRING_BLOCK + 1))
    near, group, last = rules.CONTEXT_NEAR, rules.GROUP, rules.DOCSTRING_BLOCK - 1
    assert found["nats"] == pytest.approx(harmonic[last] - harmonic[near - 1])
    assert found["far"] == pytest.approx(harmonic[last] - harmonic[last - rules.FALL_TARGETS])
    assert found["near"] == pytest.approx(
        rules.FALL_TARGETS / group * (harmonic[near + group - 1] - harmonic[near - 1])
    )
    assert (found["characters"], found["target_characters"]) == (3 * (last + 1 - near), 3 * rules.FALL_TARGETS)


def test_differences_against_the_paired_t_test():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {f"{name}_{kind}": rng.random(9) for name in ("loss", "fall", "code") for kind in younger_text.AGES}
    )
    found = younger.younger_differences(table).set_index("quantity")
    for name in ("loss", "fall", "code"):
        test = stats.ttest_rel(table[f"{name}_younger"], table[f"{name}_older"])
        assert found.loc[name, ["low", "high"]].tolist() == pytest.approx(list(test.confidence_interval(0.95)))
    gap = found["difference"]
    assert gap["loss less code"] == pytest.approx(gap["loss"] - gap["code"])


@pytest.mark.parametrize(
    ("loss", "excess", "fall", "words"),
    [
        ((0.06, 0.09), (0.01, 0.05), (-0.02, 0.01), ("contaminated", "same growth")),
        ((0.06, 0.09), (-0.01, 0.05), (0.04, 0.06), ("undetermined", "other growth")),
        ((-0.02, 0.04), (0.01, 0.05), (-0.09, -0.04), ("not seen", "other growth")),
        ((0.04, 0.09), (0.01, 0.05), (-0.04, 0.01), ("undetermined", "undetermined")),
    ],
)
def test_words_follow_the_margins(loss, excess, fall, words):
    rows = [("loss", *loss), ("fall", *fall), ("loss less code", *excess)]
    found = younger.younger_words(pd.DataFrame(rows, columns=["quantity", "low", "high"]))
    assert tuple(found.values()) == words


def test_the_whole_way_on_tiny_wheels(tmp_path, monkeypatch):
    index = tmp_path / "index"
    index.mkdir()
    for name, value in {"DOCSTRING_BLOCK": 150, "FALL_TARGETS": 64, "LEAST_PACKAGES": 2, "MOST_PACKAGES": 2}.items():
        monkeypatch.setattr(rules, name, value)
    monkeypatch.setattr(younger, "packed", lambda texts, tokenizer: younger_text.packed(texts, tokenizer, 3, 150))
    packages = []
    for number, project in enumerate(("has-none", "tiny-one", "tiny-two", "not-asked")):
        old, new = ([prose(100 * number + 10 * age + i) for i in range(8)] for age in range(2))
        files = [{"a.py": module(*old)}] * 2 + [{"a.py": module(*old), "b.py": module(*(new if number else []))}]
        wheels = [write_wheel(index, project, f"{place}.0", each) for place, each in enumerate(files)]
        packages.append(ThreeWheels(*wheels))
    next(index.glob("not_asked-0*")).unlink()  # asking for it would fail
    monkeypatch.setattr(
        younger, "wheel_file", lambda wheel, _: next(index.glob(f"{wheel.project.replace('-', '_')}-{wheel.version}-*"))
    )
    tokenizer = train_bpe([prose(seed) for seed in range(20)], 300)
    asked = tmp_path / "cells", CountingScorer(), tokenizer, tmp_path / "wheels", packages
    monkeypatch.setattr(younger, "commit", lambda: "0123456789ab")
    with pytest.raises(ValueError, match="cells of 0 packages with enough text: expected 2"):
        younger.publish_younger(tmp_path / "results", tmp_path / "cells", packages)
    younger.score_younger(*asked)
    first = {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    younger.score_younger(*asked)
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    assert sorted(first) == ["has-none.parquet", "tiny-one.parquet", "tiny-two.parquet"]
    home = younger.publish_younger(tmp_path / "results", tmp_path / "cells", packages)
    table = read_table(home / "tables" / "packages.parquet")[0].set_index("package")
    assert table["after_sha256"].tolist() == [packages[1].after.sha256, packages[2].after.sha256]
    published = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not any(word.encode() in published for word in WORDS)  # numbers, not text
    values = load_values(tmp_path / "results" / "laptop-none", "estimation/younger")
    assert values["estimation/younger:packages"]["value"] == 2
    assert values["estimation/younger:tokens"]["value"] == 2 * 2 * 3 * 150
    before = (home / "values" / "tokens.json").read_bytes()
    Recorder("estimation/younger", "laptop", folder=tmp_path / "results" / "laptop-none").value(
        "loss-word", "seen", unit="", model="another-ruler 1 float32"
    )
    with pytest.raises(ValueError, match="expected one of 'another-ruler 1 float32', which lies there"):
        younger.publish_younger(tmp_path / "results", tmp_path / "cells", packages)
    assert before == (home / "values" / "tokens.json").read_bytes()
    monkeypatch.setattr(younger, "commit", lambda: "another")
    (tmp_path / "cells" / "tiny-two.parquet").unlink()
    younger.score_younger(*asked)
    with pytest.raises(ValueError, match="cells of several runs"):
        younger.publish_younger(tmp_path / "results", tmp_path / "cells", packages)


def test_every_package_has_an_early_release_one_before_the_model_and_one_after_it():
    for three in PACKAGES_COMPARED:
        assert len({wheel.project for wheel in three}) == 1
        assert three.early.uploaded < three.before.uploaded < rules.MODEL_UPLOADED < three.after.uploaded
        assert all(len(wheel.sha256) == 64 and wheel.bytes > 10_000 for wheel in three)
    names = [three.after.project for three in PACKAGES_COMPARED]
    assert names == sorted(set(names))
