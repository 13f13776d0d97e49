"""Measure docstrings that are younger than the pretrained ruler beside older ones of the same packages, on a CPU, in cells that survive a kill.

    l2m ruler --younger FOLDER
    l2m ruler --younger FOLDER --publish results

The first needs the network once, for the wheels; a cell is a package.  The second makes the records ``estimation/younger`` of the cells, without the text that they hold.
Rules and words: :mod:`l2m_utils.experiments.younger_rules`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer
from tqdm import tqdm

from l2m_utils.estimators.codes import code_length, ppmd
from l2m_utils.experiments import younger_rules as rules
from l2m_utils.experiments.ruler import MODEL
from l2m_utils.experiments.ruler_rules import SEED
from l2m_utils.experiments.ruler_stored import REVISION
from l2m_utils.experiments.younger_text import (
    AGES,
    WHEELS,
    TextBlock,
    drawn_order,
    packed,
    python_files,
    two_kinds,
    wheel_file,
)
from l2m_utils.experiments.younger_wheels import PACKAGES_COMPARED, ThreeWheels
from l2m_utils.project import commit, hardware
from l2m_utils.records import Recorder, check_rulers, read_table, write_table
from l2m_utils.scoring.base import Scorer
from l2m_utils.stats.few import student_interval

_COLUMNS = ["package", "kind", "block", "nats", "characters", "near", "far", "target_characters", "text"]


def package_blocks(three: ThreeWheels, tokenizer: Tokenizer, folder: str | Path = WHEELS) -> dict[str, list[TextBlock]]:
    """The blocks of both kinds of one package; fewer than the rules ask for where it has not enough text."""
    found = two_kinds(*(python_files(wheel_file(wheel, folder)) for wheel in three))
    name = three.after.project
    return {
        kind: packed(
            drawn_order(found[kind], np.random.default_rng([SEED, zlib.crc32(f"{name} {kind}".encode())])), tokenizer
        )
        for kind in AGES
    }


def block_scores(scorer: Scorer, block: TextBlock) -> dict[str, float]:
    """What one block costs, in nats, and its characters.

    ``nats`` and ``characters`` of the tokens with :data:`~l2m_utils.experiments.younger_rules.CONTEXT_NEAR` tokens or more before them; of the last
    :data:`~l2m_utils.experiments.younger_rules.FALL_TARGETS` tokens the nats behind little context (``near``), behind all of it (``far``), and ``target_characters``.
    """
    ids, ends, skipped, first = block.ids, block.ends, rules.CONTEXT_NEAR, len(block.ids) - rules.FALL_TARGETS
    starts = range(first, len(ids), rules.GROUP)
    whole, *pieces = scorer.score([ids, *(ids[at - skipped : at + rules.GROUP] for at in starts)])
    return {
        "nats": -float(whole[skipped:].sum(dtype=float)),
        "characters": int(ends[-1] - ends[skipped]),
        "near": -float(sum(piece[skipped:].sum(dtype=float) for piece in pieces)),
        "far": -float(whole[first:].sum(dtype=float)),
        "target_characters": int(ends[-1] - ends[first]),
    }


def score_younger(
    folder: str | Path,
    scorer: Scorer,
    tokenizer: Tokenizer,
    wheels: str | Path = WHEELS,
    packages: Sequence[ThreeWheels] = PACKAGES_COMPARED,
) -> None:
    """Score the packages that have no cell in ``folder``, in their order, until as many as the rules ask for have enough text."""
    model = f"{scorer.identity['model']} {scorer.identity['revision'][:REVISION]} {scorer.identity['dtype']}"
    done = 0
    for three in tqdm(packages, desc="packages"):
        path = Path(folder) / f"{three.after.project}.parquet"
        if not path.exists():
            blocks = package_blocks(three, tokenizer, wheels)
            full = all(len(each) == rules.BLOCKS_EACH for each in blocks.values())
            rows = [
                {"package": three.after.project, "kind": kind, "block": number, "text": block.text}
                | block_scores(scorer, block)
                for kind, each in blocks.items()
                for number, block in enumerate(each)
                if full
            ]
            note = {"commit": commit(), "hardware": hardware(), "model": model}
            write_table(path, pd.DataFrame(rows, columns=_COLUMNS), note)
        done += len(read_table(path)[0]) > 0
        if done == rules.MOST_PACKAGES:
            return


def code_nats(rows: pd.DataFrame) -> np.ndarray:
    """What PPMd needs for the text of every row behind the texts of all other packages, in nats (rows,)."""
    code, found = ppmd(rules.CODE_ORDER), np.empty(len(rows))
    for name in tqdm(rows["package"].unique(), desc="code", delay=5):
        own = (rows["package"] == name).to_numpy()
        before = "\n\n".join(rows.loc[~own, "text"]).encode() + b"\n\n"
        known = code_length(before, code)
        for place in np.flatnonzero(own):
            found[place] = code_length(before + rows["text"].iloc[place].encode(), code) - known
    return found


def measured_packages(rows: pd.DataFrame) -> pd.DataFrame:
    """Loss, fall and code of both kinds in nats a character, a row a package: ``loss_older`` …; ``rows`` are cells with a column ``code_nats``."""
    table = rows.assign(all_characters=rows["text"].str.len()).drop(columns=["text", "block"])
    sums = pd.DataFrame(table.groupby(["package", "kind"]).sum())
    made = pd.DataFrame(
        {
            "loss": sums["nats"] / sums["characters"],
            "fall": (sums["near"] - sums["far"]) / sums["target_characters"],
            "code": sums["code_nats"] / sums["all_characters"],
            "characters": sums["all_characters"],
        }
    ).unstack("kind")
    made.columns = [f"{quantity}_{kind}" for quantity, kind in made.columns]
    return made.reset_index()


def younger_differences(table: pd.DataFrame) -> pd.DataFrame:
    """Younger less older for every quantity, a row each: mean of both kinds over packages, their ``difference`` and its Student's t interval at 95 %."""
    each = {name: table[f"{name}_younger"] - table[f"{name}_older"] for name in ("loss", "fall", "code")}
    each["loss less code"] = each["loss"] - each["code"]
    rows = []
    for name, values in each.items():
        low, high = student_interval(values)
        older, younger = (
            table[f"{name}_{kind}"].mean() if f"{name}_{kind}" in table else np.nan for kind in AGES
        )  # of the last row there is only a difference
        rows.append((name, older, younger, values.mean(), low, high, len(values)))
    return pd.DataFrame(rows, columns=["quantity", *AGES, "difference", "low", "high", "packages"])


def younger_words(differences: pd.DataFrame) -> dict[str, str]:
    """The words of the rules for loss and fall.

    >>> rows = [("loss", 0.06, 0.09), ("fall", -0.01, 0.02), ("loss less code", 0.01, 0.08)]
    >>> younger_words(pd.DataFrame(rows, columns=["quantity", "low", "high"]))
    {'loss': 'contaminated', 'fall': 'same growth'}
    """
    ends = {row["quantity"]: (row["low"], row["high"]) for row in differences.to_dict("records")}
    (low, high), (first, last) = ends["loss"], ends["fall"]
    if low > rules.LOSS_MARGIN and ends["loss less code"][0] > 0:
        loss = "contaminated"
    else:
        loss = "not seen" if high < rules.LOSS_MARGIN else "undetermined"
    if first >= -rules.FALL_MARGIN and last <= rules.FALL_MARGIN:
        fall = "same growth"
    else:
        fall = "other growth" if first > rules.FALL_MARGIN or last < -rules.FALL_MARGIN else "undetermined"
    return {"loss": loss, "fall": fall}


def publish_younger(
    target: str | Path, folder: str | Path, packages: Sequence[ThreeWheels] = PACKAGES_COMPARED
) -> Path:
    """Write the records ``estimation/younger`` of the cells in ``folder`` below ``target``; raises ``ValueError`` for fewer packages than the rules ask for, cells of several runs, and records of another ruler in their place."""
    cells, notes = [], []
    for three in packages:
        path = Path(folder) / f"{three.after.project}.parquet"
        if path.exists():
            rows, note = read_table(path)
            cells += [rows] if len(rows) else []
            notes.append(note)
    if len(cells) < rules.LEAST_PACKAGES:
        raise ValueError(
            f"{folder} has cells of {len(cells)} packages with enough text: expected {rules.LEAST_PACKAGES} or more; run without --publish first"
        )
    if any(note != notes[0] for note in notes) or notes[0]["commit"].endswith("+changes"):
        raise ValueError(
            f"{folder} has cells of several runs, or of changed files: score again in an empty folder, from a clean commit"
        )
    rows = pd.concat(cells, ignore_index=True)
    table = measured_packages(rows.assign(code_nats=code_nats(rows)))
    made = {name: notes[0][name] for name in ("commit", "hardware")}
    check_rulers(Path(target) / "laptop-none", "estimation/younger", notes[0]["model"])
    run = Recorder("estimation/younger", "laptop", "none", SEED, Path(target) / "laptop-none", made)
    run.table("packages", _described(table, packages))
    differences = run.table("differences", younger_differences(table))
    _values(run, differences, younger_words(differences), notes[0]["model"], len(rows) * rules.DOCSTRING_BLOCK)
    return run.home


def _described(table: pd.DataFrame, packages: Sequence[ThreeWheels]) -> pd.DataFrame:
    """The packages with version, day and SHA-256 of their three wheels."""
    about = {
        three.after.project: {
            f"{name}_{field}": getattr(wheel, field)
            for name, wheel in three._asdict().items()
            for field in ("version", "uploaded", "sha256")
        }
        for three in packages
    }
    return pd.concat([table, pd.DataFrame([about[name] for name in table["package"]])], axis=1)


def _values(run: Recorder, differences: pd.DataFrame, words: Mapping[str, str], model: str, tokens: int) -> None:
    for row in differences.to_dict("records"):
        name = row["quantity"].replace(" ", "-")
        note = f"younger less older docstrings, nats a character, mean over {row['packages']} packages; Student's t"
        ends = row["low"], row["high"]
        run.value(f"{name}-difference", row["difference"], unit="nats", interval=ends, model=model, note=note)
    for name, word in words.items():
        run.value(f"{name}-word", word, unit="", model=model, note="by the rules of younger_rules.py")
    run.value("packages", int(differences["packages"].iloc[0]), unit="packages", note="with enough text of both kinds")
    run.value("tokens", tokens, unit="tokens", model=model, note="in the blocks of both kinds")


def younger_command(folder: str | Path, model: str = MODEL, threads: int = 1) -> None:
    """Score what is missing in ``folder`` with ``model`` in float32 and so many threads."""
    import torch

    from l2m_utils.scoring.connect import connect, read_tokenizer

    torch.set_num_threads(threads)
    tokenizer = read_tokenizer(model).backend_tokenizer
    tokenizer.encode_special_tokens = True  # what looks like one in a docstring is text
    score_younger(folder, connect("transformers", model, dtype="float32", max_length=rules.DOCSTRING_BLOCK), tokenizer)
