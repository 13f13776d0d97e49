"""Checkpoints: everything that a run remembers, in one file that is written atomically, so that a killed run goes on to the same bits.

The file holds a checksum of its content: a flipped bit would change the result without a word.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from l2m_utils.files import checksum, write_atomically
from l2m_utils.training.errors import TrainingError

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_SUM = "sha256"


class DamagedCheckpoint(TrainingError):
    """A checkpoint is not what was saved; the run can only begin anew."""


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    configuration: dict,
    running: tuple[float, int] = (0.0, 0),
    rows: Sequence[dict] = (),
) -> None:
    """Weights, what the optimizers remember of each, the generators' state, the log's ``rows`` and the one begun (sum and number of losses) in one safetensors file, atomically."""
    from safetensors.torch import save

    names = {parameter: name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for parameter, state in (item for optimizer in optimizers for item in optimizer.state.items()):
        tensors |= {f"{key}:{names[parameter]}": torch.as_tensor(value) for key, value in state.items()}
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    metadata = {
        "step": str(step),
        "running": json.dumps(running),
        "rows": json.dumps(list(rows)),
        "configuration": json.dumps(configuration, sort_keys=True),
    }
    write_atomically(path, save(tensors, metadata={**metadata, _SUM: _checksum(tensors, metadata)}))


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    parts = [json.dumps(metadata, sort_keys=True)]
    for name, value in sorted(tensors.items()):
        parts += [f"{name} {value.dtype} {tuple(value.shape)} ", value.reshape(-1).view(torch.uint8).numpy().tobytes()]
    return checksum(*parts)


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], configuration: dict
) -> tuple[int, tuple[float, int], list[dict]]:
    """Put a checkpoint back and return the number of steps done, the log row begun and the rows before it.

    Raises :class:`DamagedCheckpoint`, before anything is put back, for a file that is not what was saved, and :class:`TrainingError` if it is of another configuration.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError) as error:
        raise DamagedCheckpoint(f"{path} is damaged ({error})") from error
    if metadata.pop(_SUM, "") != _checksum(tensors, metadata):
        raise DamagedCheckpoint(f"{path} is damaged (its content is not that of its checksum)")
    theirs, ours = json.loads(metadata.get("configuration", "{}")), json.loads(json.dumps(configuration))
    different = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    ]
    if different:
        raise TrainingError(
            f"{path} is a checkpoint of another configuration ({'; '.join(different)}); use another folder, or delete it to start again"
        )
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    remembered: dict[str, dict[str, Tensor]] = {}
    for key, _, name in (entry.partition(":") for entry in tensors if ":" in entry):
        remembered.setdefault(name, {})[key] = tensors[f"{key}:{name}"]
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if names[p] in remembered):
            optimizer.state[parameter] = {
                key: value.to(parameter.device) for key, value in remembered[names[parameter]].items()
            }
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return int(metadata["step"]), tuple(json.loads(metadata["running"])), json.loads(metadata["rows"])
