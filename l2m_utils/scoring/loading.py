"""Every causal model comes through here: loaded by transformers, and refused unless the loader says that every weight came from the file.

``from_pretrained`` fills a weight that a checkpoint lacks with random numbers, and skips one that it does not know; a warning is
all that is said.  A measurement with a random head looks like a measurement.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2m_utils.boundary import boundary
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.folder import Stored, check_files, check_weights, read_json

FORMATS = ("auto", "float32", "bfloat16", "float16", "float64")
_SHORT = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
    "fp64": "float64",
}
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_SAME_NUMBERS = (
    4  # the network that config.json describes may have so many times the numbers of the files before it is made
)
_BUFFERS = (
    "inv_freq",
    "masked_bias",
    "bias",
    "position_ids",
    "causal_mask",
)  # tables that older releases stored with the weights


def load_causal_model(
    name: str, commit: dict[str, str] | None = None, *, dtype="auto", device_map=None, **options
) -> Any:
    """The causal model in the folder ``name``, or of a hub id at a ``commit`` (see :func:`.base.pinned`), whole or not at all.

    ``dtype`` is one of :data:`FORMATS` or a ``torch.dtype``, ``device_map`` that of ``from_pretrained``, as are ``options``.  Only safetensors are
    read, and code of the model never runs.  Raises :class:`ScoringError` with one line for a damaged or foreign folder, a configuration that
    describes another network than the files hold, and whatever :func:`check_loaded` refuses.
    """
    dtype = check_format(dtype)
    check_device(device_map)
    if Path(name).is_dir():
        check_files(name)
        _check_size(Path(name), check_weights(name))
    advice = "" if Path(name).is_dir() else "weights that lie only as .bin must be converted to safetensors first"
    with boundary(f"the model {name} cannot be loaded by transformers", ScoringError, advice), quiet():
        found: Any = _network(_configuration(name, commit)).from_pretrained(
            name,
            dtype=dtype,
            device_map=device_map,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below, and not only counted
            **(commit or {}),
            **options,
        )
    model, report = found
    check_loaded(model, report, name)
    return model


def check_loaded(model, report: dict[str, Any], name: str, settings: str = "config.json") -> None:
    """Refuse a model unless its file held every weight, in the right shape, and none of a part that its ``settings`` leave out.

    ``report`` is what ``from_pretrained(…, output_loading_info=True)`` returns; a weight that is tied to another one is not missing.  Weights of
    parts that a causal model does not use (a vision tower, a head of another task) are named in a warning.  Raises :class:`ScoringError`
    that names the weights.
    """
    problems = []
    if missing := sorted(report["missing_keys"]):
        problems.append(f"{_named(missing)} missing in its files, so random numbers would stand in for them")
    if mismatched := sorted(report["mismatched_keys"]):
        shown = [f"{key} is {tuple(there)} there and {tuple(here)} by {settings}" for key, there, here in mismatched]
        problems.append(f"{_named([key for key, *_ in mismatched])} of another shape ({shown[0]})")
    unused = sorted(report["unexpected_keys"])
    if extra := [key for key in unused if _of_a_part_in_use(model, key)]:
        problems.append(
            f"{_named(extra)} in its files, but not in the network of {settings}, so the model would be cut"
        )
    problems += [str(message).splitlines()[0][:200] for message in report.get("error_msgs") or ()]
    if problems:
        raise ScoringError(
            f"{name} cannot be used: {'; '.join(problems)}. Weights and {settings} are not of one model, or files are missing: fetch both again"
        )
    if unused:
        warnings.warn(f"{name}: {_named(unused)} in its files and not used by {type(model).__name__}", stacklevel=3)


def check_weights_finite(model, name: str) -> None:
    """Raise :class:`ScoringError` that names the weights of ``model`` with a NaN or an infinity in them: every score would be one, too."""
    if wrong := sorted(key for key, tensor in model.state_dict().items() if not tensor.isfinite().all()):
        raise ScoringError(
            f"{name} cannot be used: {_named(wrong)} not finite (NaN or infinity): fetch it again, or take another model"
        )


def _named(keys: list[str], most: int = 3) -> str:
    """A few of the weights, and how many there are."""
    shown = ", ".join(key[:100] for key in keys[:most])
    if len(keys) > most:
        return f"{len(keys)} weights ({shown}, …) are"
    return f"the weight{'s' if len(keys) > 1 else ''} {shown} {'are' if len(keys) > 1 else 'is'}"


def _of_a_part_in_use(model, key: str) -> bool:
    """Whether an unexpected weight belongs to a part of the network that runs: one layer more, a bias, an adapter, a scale of quantisation."""
    alike = {re.sub(r"\d+", "0", name) for name in model.state_dict()}
    if re.sub(r"\d+", "0", key) in alike:
        return True
    modules = dict(model.named_modules())
    parts = key.split(".")
    depth = max(depth for depth in range(len(parts)) if ".".join(parts[:depth]) in modules)
    owner, rest = modules[".".join(parts[:depth])], parts[depth:]
    if next(owner.parameters(recurse=False), None) is not None:
        return True
    inside = any(part.isdigit() for part in parts[:depth]) or rest[0].isdigit()
    return inside and not (len(rest) == 1 and rest[0] in _BUFFERS)


def _check_size(folder: Path, stored: Stored) -> None:
    """Refuse a configuration that describes a far larger network than the files hold, before memory is taken for it."""
    import torch

    settings = read_json(folder / "config.json")
    if settings.get("quantization_config"):
        return  # packed numbers: what the files hold says nothing about the network
    if packed := stored.whole_numbers:
        raise ScoringError(
            f"{folder}: {_named(packed)} stored in whole numbers, and config.json has no quantization_config that says what they mean: fetch both again"
        )
    for part in (settings, *(part for part in settings.values() if isinstance(part, dict))):
        for key in _LAYERS:
            if isinstance(part.get(key), int) and part[key] > len(stored.shapes):
                raise ScoringError(
                    f"{folder / 'config.json'} describes {part[key]:,} layers ({key}), the files hold {len(stored.shapes):,} tensors: "
                    "config.json and weights are not of one model; fetch both again"
                )
    what = f"{folder / 'config.json'} describes no network that transformers can make"
    with boundary(what, ScoringError, "fetch it again, or take a newer transformers"), quiet():
        config = _configuration(str(folder))
        with torch.device("meta"):
            empty = _network(config).from_config(config, trust_remote_code=False)
        described = sum(tensor.numel() for tensor in empty.parameters())
    if described > _SAME_NUMBERS * stored.numbers:
        raise ScoringError(
            f"{folder / 'config.json'} describes a network of {described:,} numbers, the files hold {stored.numbers:,}: "
            "config.json and weights are not of one model; fetch both again"
        )


def _configuration(name: str, commit: dict[str, str] | None = None) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name, trust_remote_code=False, **(commit or {}))


def _network(config) -> Any:
    """The class of transformers that makes a causal model of ``config``; for some models with a vision tower it has another name."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    towers = getattr(AutoModelForImageTextToText, "_model_mapping", {}).keys()
    causal = getattr(AutoModelForCausalLM, "_model_mapping", {}).keys()
    return (
        AutoModelForImageTextToText if type(config) in towers and type(config) not in causal else AutoModelForCausalLM
    )


def load_tokenizer(name: str, commit: dict[str, str] | None = None) -> Any:
    """The tokenizer in the folder ``name``, or of a hub id at a ``commit``, as transformers reads it; code of the tokenizer never runs.

    Raises :class:`ScoringError` with one line when there is none, or only a damaged one.
    """
    from transformers import AutoTokenizer

    if Path(name).is_dir():
        check_files(name)
        for path in sorted(Path(name).glob("*.json")):
            if path.name.startswith(("tokenizer", "special_tokens", "added_tokens", "config")):
                read_json(path)  # names the file, which the reader of transformers does not
    advice = "save it beside the model, or name its place"
    with boundary(f"no tokenizer can be read from {name!r}", ScoringError, advice), quiet():
        made = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **(commit or {}))
        made("")  # a setting of the wrong type (model_max_length, say) is met when it is used
        return made


def check_format(dtype) -> Any:
    """``dtype`` if transformers knows it, else :class:`ScoringError` with the name that was meant.

    >>> check_format("bf16")
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.base.ScoringError: dtype 'bf16': expected one of auto, float32, bfloat16, float16, float64; did you mean 'bfloat16'?
    """
    if isinstance(dtype, str) and dtype not in FORMATS:
        meant = f"; did you mean {_SHORT[dtype.lower()]!r}?" if dtype.lower() in _SHORT else ""
        raise ScoringError(f"dtype {dtype[:40]!r}: expected one of {', '.join(FORMATS)}{meant}")
    return dtype


def check_device(device_map) -> None:
    """Refuse a ``device_map`` that names a GPU which is not there."""
    import torch

    for place in device_map.values() if isinstance(device_map, dict) else [device_map]:
        if not str(place).startswith("cuda"):
            continue
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = str(place).partition(":")[2] or "0"
        if not number.isdigit() or int(number) >= count:
            raise ScoringError(
                f"device_map {place!r}: this machine has {count} usable GPUs; leave it out for what there is, or give cpu"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the loader's own report, a table of many lines: what matters of it is said by :func:`check_loaded`."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
