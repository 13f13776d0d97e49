"""Checkpoints: everything that a run remembers, in one file that is written atomically, so that a killed run goes on to the same bits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from l2m_utils.files import write_atomically
from l2m_utils.training.errors import TrainingError

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    configuration: dict,
    running: tuple[float, int] = (0.0, 0),
) -> None:
    """Weights, what the optimizers remember of each, the generators' state and the log row begun (sum and number of losses) in one safetensors file, atomically."""
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
        "configuration": json.dumps(configuration, sort_keys=True),
    }
    write_atomically(path, save(tensors, metadata=metadata))


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], configuration: dict
) -> tuple[int, tuple[float, int]]:
    """Put a checkpoint back and return the number of steps done and the log row begun; :class:`TrainingError` if it is of another configuration."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
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
    return int(metadata["step"]), tuple(json.loads(metadata["running"]))


def read_log(path: Path, steps: int) -> list[dict]:
    """The log's rows up to step ``steps``; what a killed run logged after its checkpoint will be logged again."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [row for row in rows if row["step"] <= steps]
