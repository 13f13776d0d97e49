"""From a GGUF file to a folder in the Hugging Face layout: read by transformers, saved as an ordinary float32 model with its tokenizer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2m_utils.boundary import boundary, first_line
from l2m_utils.scoring.base import ScoringError, check_tokenizer, choose_prefix
from l2m_utils.scoring.gguf_file import INSTALL, Header
from l2m_utils.scoring.loading import check_loaded, check_weights_finite, quiet

_SAME_NUMBERS = (
    1.05  # the network that the metadata describe may have this many times the numbers of the file (tied heads, tables)
)


def convert(path: Path, header: Header, target: Path) -> tuple[str, int]:
    """Write the model and tokenizer of the GGUF file ``path`` with its checked ``header`` into ``target``; returns its name and prefix id.

    The name is what the file calls itself, in lower-case words joined by hyphens; the prefix is BOS, else EOS.  Raises
    :class:`ScoringError` with one line when transformers cannot read the architecture or the tokenizer, when weights are missing or not
    finite, or when the metadata describe another network than the weights; ``ImportError`` with the install line when ``gguf`` is missing;
    ``OSError`` when ``target`` cannot be written.
    """
    with quiet():
        model, tokenizer = _model(path, header), _tokenizer(path)
    check_tokenizer(tokenizer, model.get_input_embeddings().weight.shape[0])
    with _errors_of_the_system():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    title = re.sub(r"[^a-z0-9]+", "-", str(header.values.get("general.name", "")).lower()).strip("-")
    return title or f"{header.architecture}-gguf", choose_prefix(tokenizer)


@contextmanager
def _errors_of_the_system() -> Iterator[None]:
    """A full disk is an ``OSError`` also where a writer in Rust met it: it raises another class, and the number of the error stands in its text."""
    try:
        yield
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if isinstance(error, OSError) or number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _model(path: Path, header: Header) -> Any:
    """The model of a GGUF file in float32, as an ordinary model that can be saved."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        config = AutoConfig.from_pretrained(**where)
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        described = sum(tensor.numel() for tensor in empty.parameters())
        if described > _SAME_NUMBERS * header.numbers:
            raise ScoringError(
                f"{path} cannot be used: its metadata describe a network of {described:,} numbers, its tensors hold {header.numbers:,}"
            )
        found: Any = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
        loaded, report = found
        check_loaded(loaded, report, str(path), "its metadata")
        check_weights_finite(loaded, str(path))
    except (ScoringError, MemoryError):
        raise
    except ImportError as error:
        raise ImportError(f"a GGUF file needs the package gguf: {INSTALL}") from error
    except Exception as error:  # the readers raise whatever a damaged or foreign file makes them stumble over
        raise ScoringError(
            f"{path}: architecture {header.architecture!r} cannot be read by transformers ({first_line(error)}); take another model"
        ) from error
    # A model read from GGUF calls itself quantised and refuses to be saved: its weights move into one that does not.
    empty.load_state_dict(loaded.state_dict(), assign=True)
    empty.tie_weights()
    return empty


def _tokenizer(path: Path):
    from transformers import AutoTokenizer

    with boundary(f"{path}: its tokenizer cannot be read by transformers", ScoringError, "take another model"):
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    probe = "The cat – naïve – sat.\n 12"
    if (
        getattr(tokenizer, "backend_tokenizer", None) is None
        or not tokenizer(probe, add_special_tokens=False)["input_ids"]
    ):
        raise ScoringError(
            f"{path}: its tokenizer ({type(tokenizer).__name__}) has no fast form or gives no tokens; take another model"
        )
    return tokenizer
