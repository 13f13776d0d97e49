"""Attacks by a folder: weights, index, configuration and tokenizer damaged in one place.  ``attack(number, seed)`` is the whole of it.

A try is *survived* when the folder is refused by a ``ScoringError`` of one line, or gives the same scores and the same identity every time: the
right ones under the old identity, others only under a new one (a changed weight is another model).  It is *lost* when anything else is raised, when it
takes too long, when code of the folder ran, or when scores are random, as they are with weights that no file holds.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from l2m_utils.scoring.base import ScoringError, encode
from l2m_utils.scoring.connect import connect, read_tokenizer
from l2m_utils.scoring.folder import INDEX, SINGLE

TEXT = "The mill stood idle all summer. No letter came."
SLOW = 15.0  # seconds for one try on a busy machine
ODD = [
    None,
    True,
    -1,
    0,
    1,
    3,
    7,
    0.5,
    10**9,
    10**30,
    "",
    "eight",
    [],
    {},
    [1] * 50,
    {"a": {"b": 1}},
    "\ud800",
    "../../x",
    "[" * 3000,
]


def whole(home: Path) -> None:
    """A tiny model with a byte tokenizer, in one weights file."""
    sizes = dict(hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = hf.LlamaConfig(vocab_size=257, max_position_embeddings=128, bos_token_id=0, eos_token_id=0, **sizes)
        hf.LlamaForCausalLM(config).save_pretrained(home)
    letters = ["<s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    hf.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="<s>").save_pretrained(home)


def places(node, path=()):
    """Every place in a JSON value, the outer ones first."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found = [(node, key) for key, _ in items]
    for container, key in list(found):
        if isinstance(container[key], (dict, list)) and len(container[key]) < 40:
            found += places(container[key])
    return found


def damage_json(path: Path, rng) -> str:
    """One value of a JSON file replaced, lost, or the file cut or filled with something else."""
    content = path.read_bytes()
    kind = rng.integers(10)
    if kind == 0:
        path.write_bytes(content[: rng.integers(len(content))])
        return "cut"
    if kind == 1:
        path.write_bytes(
            [b"", b"[]", b"null", b"[" * 100_000, b"{}", bytes(rng.integers(0, 256, 99, np.uint8))][rng.integers(6)]
        )
        return "other content"
    found = json.loads(content)
    spots = places(found)
    node, key = spots[rng.integers(len(spots))]
    value = ODD[rng.integers(len(ODD))]
    if kind == 2:
        del node[key]
    else:
        node[key] = value
    path.write_text(json.dumps(found))
    return f"{key!r:.40} {'lost' if kind == 2 else f'= {value!r:.30}'}"


def damage_weights(path: Path, rng) -> str:
    """A safetensors file cut, lengthened, with a flipped bit, or with a header that says something else of the same data."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    kind = rng.integers(8)
    if kind == 0:
        path.write_bytes(content[: rng.integers(len(content))])
        return "cut"
    if kind == 1:
        path.write_bytes(content + bytes(rng.integers(1, 9)))
        return "lengthened"
    if kind == 2:
        at = int(rng.integers(8 + length))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1 :])
        return "a bit of the header"
    if kind == 3:
        del header[name]
    elif kind == 4:
        header[f"{name}.more" if rng.random() < 0.5 else "other"] = header.pop(name)
    elif kind == 5:
        header[name]["shape"] = [
            [1],
            [0],
            [2**62],
            [-1],
            header[name]["shape"][::-1],
            header[name]["shape"] + [1],
            None,
        ][rng.integers(7)]
    elif kind == 6:
        header[name]["data_offsets"] = [[0, 2**62], [-8, 8], [8, 0], header[names[0]]["data_offsets"], [0.5, 1], "x"][
            rng.integers(6)
        ]
    else:
        header[name]["dtype"] = ["F16", "I32", "F64", "F4", "Q7", None, 3][rng.integers(7)]
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + data)
    return f"header, kind {kind}, {name}"


def damage_files(folder: Path, rng, mark: Path) -> str:
    """A file replaced by what is no file, or a folder that asks for its own code."""
    names = [SINGLE, "config.json", "tokenizer.json", "tokenizer_config.json"]
    path = folder / names[rng.integers(len(names))]
    kind = rng.integers(7)
    if kind == 6:
        (folder / "mine.py").write_text(f"open({str(mark)!r}, 'w')\nclass Mine: pass\n")
        settings = json.loads((folder / "config.json").read_text())
        settings |= {"auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"}}
        settings |= {"model_type": "mine"} if rng.random() < 0.5 else {}
        (folder / "config.json").write_text(json.dumps(settings))
        words = json.loads((folder / "tokenizer_config.json").read_text())
        words |= {"auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}, "tokenizer_class": "Mine"}
        (folder / "tokenizer_config.json").write_text(json.dumps(words))
        return "its own code"
    path.unlink()
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        path.symlink_to(folder / "nowhere")
    elif kind == 4:
        path.symlink_to(path)
    return f"{path.name}: {('pipe', 'folder', 'device', 'dead link', 'circle of links', 'lost')[kind]}"


def scored(folder: Path) -> tuple[str, np.ndarray]:
    """Identity and scores of a text by the model and tokenizer of a folder."""
    tokenizer = read_tokenizer(str(folder))
    tokenizer.backend_tokenizer.encode(TEXT)
    scorer = connect("transformers", str(folder), dtype="float32")
    return json.dumps(scorer.identity), scorer.score([encode(tokenizer, TEXT)])[0]


def attempt(folder: Path, right: tuple[str, np.ndarray], mark: Path, name: str) -> str:
    """Load the damaged folder twice; what was lost, or nothing."""
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, two = scored(folder), scored(folder)
        if one[0] != two[0] or not np.array_equal(one[1], two[1]):
            return f"{name}: random scores"
        same_text = len(one[1]) == len(right[1])  # another tokenizer cuts the text otherwise
        if one[0] == right[0] and same_text and not np.array_equal(one[1], right[1]) and "tokenizer" not in name:
            return f"{name}: other scores under the old identity"
    except ScoringError as error:
        if "\n" in str(error) or len(str(error)) > 900:
            return f"{name}: a message of {len(str(error))} characters"
    except BaseException as error:  # what is looked for; a library in Rust panics with no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{name}: {type(error).__name__}: {str(error)[:80]}"
    if mark.exists():
        return f"{name}: code of the folder ran"
    return f"{name}: {time.monotonic() - begun:.0f} s" if time.monotonic() - begun > SLOW else ""


def attack(number: int, seed: int) -> list[dict]:
    """``number`` damaged folders in all, drawn with ``seed``: one row a kind, with what was lost in ``note``."""
    rng = np.random.default_rng(seed)
    kinds = ("weights", "configuration", "tokenizer", "index of shards", "files")
    results: dict[str, list[str]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="l2m-") as scratch:
        home = Path(scratch)
        whole(home / "whole")
        hf.LlamaForCausalLM.from_pretrained(home / "whole").save_pretrained(home / "shards", max_shard_size="8KB")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(home / "whole" / file, home / "shards" / file)
        folder, mark = home / "model", home / "ran"  # the name of a folder is part of the identity
        right = {}
        for source in ("whole", "shards"):
            shutil.copytree(home / source, folder)
            right[source] = scored(folder)
            shutil.rmtree(folder)
        assert np.array_equal(right["whole"][1], right["shards"][1])
        for turn in range(number):
            kind = kinds[turn % len(kinds)]
            source = "shards" if kind == kinds[3] else "whole"
            shutil.copytree(home / source, folder)
            if kind == kinds[0]:
                name = damage_weights(folder / SINGLE, rng)
            elif kind == kinds[4]:
                name = damage_files(folder, rng, mark)
            else:
                file = {kinds[1]: "config.json", kinds[3]: INDEX}.get(
                    kind, ("tokenizer.json", "tokenizer_config.json")[turn % 2]
                )
                name = f"{file}: {damage_json(folder / file, rng)}"
            results[kind].append(attempt(folder, right[source], mark, name))
            mark.unlink(missing_ok=True)
            shutil.rmtree(folder)
    rows = []
    for kind, found in results.items():
        lost = [each for each in found if each]
        row = {
            "kind": f"model folder: {kind}",
            "tried": len(found),
            "survived": len(found) - len(lost),
            "lost": len(lost),
        }
        rows.append(row | {"note": "; ".join(dict.fromkeys(lost))[:1000]})
    return rows
