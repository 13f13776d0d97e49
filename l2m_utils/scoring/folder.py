"""A model folder, looked at before any library opens it: are the files there, are they what their names say, do they fit each other?

A folder comes from anywhere: a copy that was cut short, a clone without its large files, a page of HTML under the name of a
weights file, or somebody who means harm.  Every count, length, offset and file name in it is a thing that its writer chose, so
each is held against the size of the file before it is used, as :mod:`.gguf_file` does for the other format.
Layout: the safetensors format (eight bytes, little endian, with the length of a JSON header; then the data).
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.scoring.base import ScoringError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")
_MOST_JSON = 512 << 20  # bytes of a JSON file: the largest tokenizers have some forty million
_MOST_HEADER = 100 << 20  # bytes of a safetensors header, the bound of the format's own reader
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
_BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}
_BITS |= {"C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


@dataclass(frozen=True)
class Stored:
    """The weights that a folder holds: ``shapes`` and number ``formats`` by name, and ``numbers`` in all."""

    shapes: dict[str, tuple[int, ...]]
    formats: dict[str, str]

    @property
    def whole_numbers(self) -> list[str]:
        """Names of matrices that are stored in whole numbers: packed, and nothing without the rule that unpacks them."""
        return [
            name
            for name, kind in self.formats.items()
            if kind[0] in "IUB" and kind != "BF16" and len(self.shapes[name]) > 1
        ]

    @property
    def numbers(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def check_files(folder: str | Path) -> None:
    """Refuse a folder with a file that cannot be a file of a model: a pipe, a device, a link to nothing, JSON without an end.

    Raises :class:`ScoringError` that names the file.  Links to files elsewhere are followed: the cache of the hub is made of them.
    """
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() not in (".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken"):
            continue
        try:
            found = os.stat(path)
        except OSError as error:
            raise ScoringError(
                f"{path} cannot be read ({error.strerror}): expected a file; copy the model anew"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise ScoringError(f"{path} is no regular file (a folder, pipe or device): expected a file of a model")
        if path.suffix == ".json" and found.st_size > _MOST_JSON:
            raise ScoringError(
                f"{path} has {found.st_size:,} bytes, expected at most {_MOST_JSON:,}: it is no file of a model"
            )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; :class:`ScoringError` that names the file for anything else, deep nesting and LFS pointers included."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScoringError(f"{path} cannot be read ({error.strerror}): expected a file of a model") from error
    if what := _not_a_file_of_its_kind(content[:200]):
        raise ScoringError(f"{path} is {what}")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise ScoringError(f"{path} is no JSON ({why}): it is damaged; fetch it again") from error
    if not isinstance(found, dict):
        raise ScoringError(f"{path} holds a JSON {type(found).__name__}, expected an object; fetch it again")
    return found


def check_weights(folder: str | Path) -> Stored:
    """The weights in ``folder``, from the headers of its safetensors files, each checked against its file and the index against all.

    Raises :class:`ScoringError` that names the file: for a missing, truncated or damaged one, an LFS pointer, a shard outside the folder, an
    index that names weights which its shard does not hold, and a folder that has its weights in another format (with the way to convert them).
    """
    folder = Path(folder)
    if (folder / "adapter_config.json").exists():
        raise ScoringError(
            f"{folder} holds an adapter (adapter_config.json), which is half a model: merge it into its base model "
            "(merge_and_unload() of peft, then save_pretrained) and give that folder"
        )
    single, index = folder / SINGLE, folder / INDEX
    if not single.exists() and not index.exists():
        raise ScoringError(_no_weights(folder))
    if not index.exists():
        return Stored(*_read(single))
    shards: dict[str, list[str]] = {}
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ScoringError(f"{index} has no weight_map: expected the file of every weight; fetch it again")
    for weight, file in named.items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or file != Path(file).name or "\\" in file:
            raise ScoringError(
                f"{index} puts {weight[:80]!r} into {str(file)[:80]!r}: expected the name of a .safetensors file in the same folder"
            )
        shards.setdefault(file, []).append(weight)
    if single.exists() and SINGLE not in shards:
        raise ScoringError(
            f"{folder} holds {SINGLE} and an index of other files: one of the two is old; remove the one that does not belong to config.json"
        )
    if missing := sorted(file for file in shards if not (folder / file).exists()):
        raise ScoringError(
            f"{folder} lacks {_some(missing)} of {len(shards)} weight files that {INDEX} names: fetch what is missing"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    formats: dict[str, str] = {}
    for file, weights in sorted(shards.items()):
        held, kinds = _read(folder / file)
        if lost := sorted(set(weights) - set(held)):
            raise ScoringError(
                f"{INDEX} puts {_some(lost)} into {file}, which does not hold them: index and weights are of different models; fetch both again"
            )
        if twice := sorted(set(held) & set(shapes)):
            raise ScoringError(
                f"{folder}: {_some(twice)} lie in {file} and in another weight file: which one is meant? Fetch the model again"
            )
        shapes, formats = shapes | held, formats | kinds
    return Stored(shapes, formats)


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a safetensors file, by name; its data are not read.

    Raises :class:`ScoringError` for a file of another kind, a truncated one, and a header that contradicts the file or itself.

    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> import numpy as np
    >>> place = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> save_file({"w": np.zeros((2, 3), np.float32)}, place)
    >>> read_shapes(place)
    {'w': (2, 3)}
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes and number formats of a safetensors file, by name."""
    again = "it is truncated or damaged; fetch the file again"
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(200)
            if what := _not_a_file_of_its_kind(head):
                raise ScoringError(f"{path} is {what}")
            length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
            if not 2 <= length <= min(_MOST_HEADER, size - 8):
                raise ScoringError(
                    f"{path} has {size:,} bytes and claims a header of {length:,}: expected a safetensors file; {again}"
                )
            stream.seek(8)
            header = json.loads(stream.read(length))
    except OSError as error:
        raise ScoringError(f"{path} cannot be read ({error.strerror}): give a model whose files can be read") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ScoringError):
            raise
        raise ScoringError(f"{path} has a header that is no JSON: {again}") from error
    if not isinstance(header, dict):
        raise ScoringError(f"{path} has a header that is no JSON object: {again}")
    spans, shapes, formats = [], {}, {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end, shape = _entry(entry)
        if begin < 0:
            raise ScoringError(f"{path}: tensor {name[:80]!r} has an entry that contradicts itself: {again}")
        spans.append((begin, end))
        shapes[name], formats[name] = shape, entry["dtype"]
    if not shapes:
        raise ScoringError(f"{path} holds no tensor: {again}")
    place = 0
    for begin, end in sorted(spans):
        if begin != place:
            raise ScoringError(f"{path}: its tensors overlap or leave a gap at byte {place:,} of the data: {again}")
        place = end
    if 8 + length + place != size:
        raise ScoringError(f"{path} has {size:,} bytes, its tensors end at byte {8 + length + place:,}: {again}")
    return shapes, formats


def _entry(entry: Any) -> tuple[int, int, tuple[int, ...]]:
    """Begin, end and shape of a tensor, or a begin of −1 when they do not fit its type and each other."""

    def numbers(found) -> bool:
        return isinstance(found, list) and all(type(each) is int and 0 <= each < 1 << 62 for each in found)

    wrong = -1, -1, ()
    if not isinstance(entry, dict) or not numbers(entry.get("shape")) or not numbers(entry.get("data_offsets")):
        return wrong
    shape, offsets, kind = tuple(entry["shape"]), entry["data_offsets"], entry.get("dtype")
    if len(offsets) != 2 or len(shape) > 16 or not isinstance(kind, str) or kind not in _BITS:
        return wrong
    begin, end = offsets
    return (begin, end, shape) if (end - begin) * 8 == math.prod(shape) * _BITS[kind] else wrong


def _not_a_file_of_its_kind(head: bytes) -> str:
    """What else a file is, by its first bytes, and what to do; empty when nothing speaks against it."""
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS and not the file itself: run `git lfs pull` in its folder, or fetch the file"
    if head.lstrip()[:1] == b"<":
        return "a page of HTML or XML (an error page of a download?): fetch the file again"
    if not head:
        return "empty: fetch the file again"
    return ""


def _no_weights(folder: Path) -> str:
    """Why no weights were found in ``folder``, and what to do about it."""
    names = sorted(path.name for path in folder.iterdir())
    pickles = [name for name in names if name.endswith(_PICKLES) and "tokenizer" not in name and "training" not in name]
    if pickles:
        return (
            f"{folder} holds its weights as {_some(pickles)}, a format that can run code when it is read, so it is not read here: convert it where you "
            "trust it, with AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), which writes safetensors"
        )
    if ggufs := [name for name in names if name.endswith(".gguf")]:
        return f"{folder} holds GGUF files: give one of them as the model, {folder / ggufs[0]}"
    if others := [name for name in names if name.endswith(".safetensors")]:
        return (
            f"{folder} holds no {SINGLE} and no {INDEX}, but {_some(others)}: expected the names that save_pretrained writes; "
            "fetch the index, or save the model anew"
        )
    return f"{folder} holds no weights: expected {SINGLE} or {INDEX} with its files, as save_pretrained writes them"


def _some(names: list[str], most: int = 3) -> str:
    """A few names, then how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:100] for name in names[:most]) + more
