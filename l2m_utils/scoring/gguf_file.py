"""The header of a GGUF file, read with suspicion: a file from anywhere is checked before any library opens it.

A GGUF file is a magic word, metadata (keys with typed values), a table of tensors, and their data.  Every count, length and
offset in it is a number that the writer chose, so each is held against the size of the file before it is used.
Layout: the GGUF specification of ggml (versions 2 and 3, little endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.scoring.base import ScoringError

INSTALL = "pip install 'l2m-book[gguf]'"
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}  # value type: struct code
_STRING, _ARRAY = 8, 9
_MOST_AXES = 4


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself: ``values`` without arrays, ``tokens`` of its tokenizer, ``shapes`` of its tensors, ``numbers`` in all."""

    values: dict[str, int | float | bool | str]
    tokens: int
    shapes: dict[str, tuple[int, ...]]
    numbers: int

    @property
    def architecture(self) -> str:
        """The kind of model, ``llama`` for instance; empty when the file does not say."""
        return str(self.values.get("general.architecture", ""))


def read_header(path: str | Path) -> Header:
    """The header of the GGUF file ``path``, checked against the size of the file.

    Raises :class:`ScoringError` for another kind of file, another version, a truncated file, numbers that do not fit into the
    file, tensors that overlap its end, a file without architecture or embedding, or one whose tokenizer and embedding have
    different numbers of tokens; ``ImportError`` with the install line when the package ``gguf`` is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ScoringError(f"{path}: there is no such file; expected a model in the GGUF format")
    if path.stat().st_size < 24:
        raise ScoringError(
            f"{path} has {path.stat().st_size} bytes: expected a GGUF file; it is empty or cut short, so fetch it again"
        )
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Reader(content, path).header()


class _Reader:
    """A place in the file that never passes its end."""

    def __init__(self, content: mmap.mmap, path: Path):
        self.content, self.path, self.place = content, path, 0

    def fail(self, what: str, do: str = "fetch the file again") -> ScoringError:
        return ScoringError(f"{self.path} cannot be used: {what}; {do}")

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            raise self.fail(
                f"it claims {size:,} bytes at position {self.place:,} and has {len(self.content):,} in all, so it is truncated or damaged"
            )
        self.place += size
        return self.content[self.place - size : self.place]

    def number(self, code: str):
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, smallest: int, what: str) -> int:
        """A number of things that take at least ``smallest`` bytes each."""
        found = self.number("Q")
        if found * smallest > len(self.content) - self.place:
            raise self.fail(f"it claims {found:,} {what}, more than its {len(self.content):,} bytes can hold")
        return found

    def text(self) -> str:
        return self.take(self.count(1, "characters of a text")).decode("utf-8", errors="replace")

    def value(self):
        """A value of the metadata; of an array only its length."""
        kind = self.number("I")
        if kind == _STRING:
            return self.text()
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise self.fail(f"a value has type {kind}, which GGUF does not know")
        kind = self.number("I")
        if kind == _STRING:
            items = self.count(8, "texts")
            for _ in range(items):
                self.take(self.count(1, "characters of a text"))
        elif kind in _NUMBERS:
            size = struct.calcsize("<" + _NUMBERS[kind])
            items = self.count(size, "numbers")
            self.take(items * size)
        else:
            raise self.fail(f"an array has items of type {kind}, expected numbers or texts")
        return range(items)

    def header(self) -> Header:
        if (magic := self.take(4)) != _MAGIC:
            raise self.fail(f"it begins with {magic!r}, a GGUF file with {_MAGIC!r}", "give a model in the GGUF format")
        if (version := self.number("I")) not in _VERSIONS:
            raise self.fail(
                f"it has version {version}, expected one of {_VERSIONS}", "convert it with a current llama.cpp"
            )
        tensors, pairs = self.count(24, "tensors"), self.count(13, "metadata values")
        values = {}
        for _ in range(pairs):
            key = self.text()
            if key in values:
                raise self.fail(f"the metadata name {key!r} twice")
            values[key] = self.value()
        shapes, ends = {}, []
        for _ in range(tensors):
            name, axes = self.text(), self.number("I")
            if name in shapes or not 1 <= axes <= _MOST_AXES:
                raise self.fail(f"tensor {name!r} comes twice or has {axes} axes, expected 1 to {_MOST_AXES}")
            shapes[name] = tuple(self.number("Q") for _ in range(axes))
            ends.append(self._bytes(name, shapes[name]))
        align = values.get("general.alignment", 32)
        if not isinstance(align, int) or align < 1 or align & (align - 1):
            raise self.fail(f"its alignment is {align}, expected a power of two")
        start = -(-self.place // align) * align
        if start + max(ends, default=0) > len(self.content):
            raise self.fail(
                f"its tensors end at byte {start + max(ends):,}, the file has {len(self.content):,}, so it is truncated"
            )
        return self._consistent(
            Header(
                {k: v for k, v in values.items() if not isinstance(v, range)},
                len(values.get("tokenizer.ggml.tokens", ())),
                shapes,
                _total(shapes),
            )
        )

    def _bytes(self, name: str, shape: tuple[int, ...]) -> int:
        """Where the data of a tensor end, counted from the start of all data."""
        try:
            from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
        except ImportError as error:
            raise ImportError(f"a GGUF file needs the package gguf: {INSTALL}") from error
        kind, offset = self.number("I"), self.number("Q")
        if kind not in iter(GGMLQuantizationType):
            raise self.fail(
                f"tensor {name!r} has number format {kind}, which gguf does not know",
                "install a newer gguf, or take another quantisation",
            )
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        if not all(shape) or shape[0] % block:
            raise self.fail(
                f"tensor {name!r} has shape {shape}, expected positive numbers and rows of whole blocks of {block}"
            )
        return offset + _total({name: shape}) // block * size

    def _consistent(self, header: Header) -> Header:
        """Refuse a header whose parts contradict each other, before a network of its size is made."""
        if not header.architecture:
            raise self.fail("its metadata name no architecture", "give a language model")
        embedding = header.shapes.get("token_embd.weight")
        if embedding is None or len(embedding) != 2:
            raise self.fail("it has no embedding token_embd.weight of two axes", "give a language model")
        if not header.tokens:
            raise self.fail("it holds no tokenizer (tokenizer.ggml.tokens)", "take a file that has one")
        if header.tokens != embedding[1]:
            raise self.fail(
                f"its tokenizer has {header.tokens:,} tokens and its embedding {embedding[1]:,}, so they belong to different models"
            )
        for key, most in (("embedding_length", embedding[0]), ("block_count", len(header.shapes))):
            found = header.values.get(f"{header.architecture}.{key}")
            if not isinstance(found, int) or not 1 <= found <= most:
                raise self.fail(f"its {key} is {found}, expected a number from 1 to {most:,}, by its tensors")
        return header


def _total(shapes: dict[str, tuple[int, ...]]) -> int:
    total = 0
    for shape in shapes.values():
        size = 1
        for axis in shape:
            size *= axis
        total += size
    return total
