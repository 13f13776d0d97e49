"""The last layer of a language model, slice by slice: log-probabilities without a [tokens × vocabulary] array.

For one block of 2,048 tokens and 50,257 token ids the logits alone take 412 MB in float32, and their
log-softmax as much again.  Only one number a token is wanted:

    log q(w | h) = z_w − log Σ_v exp z_v,      z = cap(scale · (W h + b)),

so the sum over v runs over slices of the vocabulary, for a few hundred tokens at a time, and the running
logarithm of the sum is all that is kept.  Everything is float32, whatever the type of the weights.

Some families change the logits after the matrix product (a fixed scale, a soft cap c·tanh(z/c)).  What
the configuration declares is tried against the model's own logits on a short probe, with hidden states
made large so that a soft cap shows; a model that no rule reproduces is refused.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import product

import torch

from l2m_utils.scoring.base import ScoringError

CHUNK = (512, 4096)  # tokens and vocabulary of the largest array of logits
_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier", "logits_mup_width_multiplier")
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_PROBE_PEAK = 50.0  # size of the largest logit in the probe: above the usual caps, so that one cannot hide


def token_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
    chunk_tokens: int = CHUNK[0],
    chunk_vocabulary: int = CHUNK[1],
) -> torch.Tensor:
    """log q(target | hidden) in nats, float32 (tokens,), without the logits of all tokens at once.

    Parameters
    ----------
    hidden : (tokens, width), output of the backbone.
    targets : (tokens,) token ids.
    weight, bias : (vocabulary, width) and (vocabulary,) of the head.
    scale, cap : logits are ``scale · (W h + b)``, then ``cap · tanh(logits / cap)`` if ``cap`` is given.
    chunk_tokens, chunk_vocabulary : the largest array made has this many rows and columns.

    >>> scores = token_logprobs(torch.zeros(3, 2), torch.tensor([0, 1, 4]), torch.ones(5, 2), chunk_vocabulary=2)
    >>> [round(score, 4) for score in scores.tolist()]  # uniform over five tokens: -log 5
    [-1.6094, -1.6094, -1.6094]
    """
    tokens, vocabulary = hidden.shape[0], weight.shape[0]
    targets = targets.to(hidden.device)
    log_sum = torch.full((tokens,), -torch.inf, device=hidden.device)
    chosen = torch.zeros(tokens, device=hidden.device)
    # Slices of the vocabulary are the outer loop: each is cast to float32 once, not once for every chunk of tokens.
    for first in range(0, vocabulary, chunk_vocabulary):
        columns = weight[first : first + chunk_vocabulary].to(device=hidden.device, dtype=torch.float32).t()
        offset = (
            None
            if bias is None
            else bias[first : first + chunk_vocabulary].to(device=hidden.device, dtype=torch.float32)
        )
        width = columns.shape[1]
        for start in range(0, tokens, chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            states = hidden[rows].float()
            logits = states @ columns if offset is None else torch.addmm(offset, states, columns)
            if scale != 1.0:
                logits *= scale
            if cap is not None:
                logits.div_(cap).tanh_().mul_(cap)
            place = targets[rows] - first
            inside = (place >= 0) & (place < width)
            found = logits.gather(1, place.clamp(0, width - 1)[:, None])[:, 0]
            chosen[rows] = torch.where(inside, found, chosen[rows])
            largest = logits.amax(1)
            logits.sub_(largest[:, None]).exp_()
            log_sum[rows] = torch.logaddexp(log_sum[rows], logits.sum(1).log_().add_(largest))
    return chosen - log_sum


@dataclass(frozen=True)
class Head:
    """The head of one model: its weights and what follows the matrix product."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    cap: float | None

    def token_logprobs(self, hidden: torch.Tensor, targets: torch.Tensor, **chunks: int) -> torch.Tensor:
        """:func:`token_logprobs` with this head."""
        return token_logprobs(hidden, targets, self.weight, self.bias, scale=self.scale, cap=self.cap, **chunks)


@torch.inference_mode()
def split_model(model) -> tuple[torch.nn.Module, Head]:
    """The backbone of a causal model and the head that reproduces the model's own logits on a probe of a few tokens.

    Raises :class:`ScoringError` when the head is no plain linear layer, when its weights are not in
    memory, or when no rule that the configuration declares reproduces the logits.
    """
    linear = model.get_output_embeddings()
    if type(linear) is not torch.nn.Linear or not linear.weight.is_floating_point():
        raise ScoringError(
            f"the head of {type(model).__name__} is {type(linear).__name__}: expected a plain linear layer with float weights"
        )
    embedding = model.get_input_embeddings().weight
    if linear.weight.is_meta or embedding.is_meta:
        raise ScoringError("the first or the last layer is offloaded: give a device_map that keeps both in memory")

    probe = torch.arange(8, device=embedding.device)[None] * 37 % linear.weight.shape[0]
    backbone = _backbone(model, probe)
    hidden, reference = _probe(model, backbone, probe, 1.0)
    if not reference.isfinite().all():
        raise ScoringError(
            f"{type(model).__name__} gives logits that are not finite on a probe: its weights are damaged, or {model.dtype} is too narrow"
        )
    some = hidden.float() @ linear.weight[:4096].to(device=hidden.device, dtype=torch.float32).t()
    amplify = max(1.0, _PROBE_PEAK / float(some.abs().max().clamp_min(1e-6)))
    loud, loud_reference = _probe(model, backbone, probe, amplify)
    direct = backbone(input_ids=probe, use_cache=False).last_hidden_state[0]
    for scale, cap in _rules(model.config.get_text_config()):
        head = Head(linear.weight, linear.bias, scale, cap)
        if _agrees(head, loud, loud_reference) and _agrees(head, direct, reference):
            return backbone, head
    raise ScoringError(
        f"the head of {type(model).__name__} does more than a scale and a soft cap: its logits differ from W·h + b on a probe; "
        "score this model through vLLM or a server"
    )


def _backbone(model, ids: torch.Tensor) -> torch.nn.Module:
    """The module that feeds the head: found by what the head reads, whatever it is called and however deep it lies.

    A wrapper for pictures and text has a language model within a model; the outermost that gives these hidden states from token ids alone is taken.
    """
    head, seen, fed = model.get_output_embeddings(), [], []

    def note(module, inputs, output) -> None:
        state = getattr(output, "last_hidden_state", None)
        if isinstance(state, torch.Tensor) and state.shape[:2] == ids.shape:
            seen.append((module, state))

    hooks = [module.register_forward_hook(note) for module in model.modules() if module not in (model, head)]
    hooks.append(head.register_forward_hook(lambda module, inputs, output: fed.extend(inputs[:1])))
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    once = [(module, state) for module, state in seen[::-1] if sum(module is other for other, _ in seen) == 1]
    # Some families scale the hidden states before the head; then what comes last before it is what feeds it.
    once.sort(key=lambda pair: not any(torch.equal(pair[1], state) for state in fed if state.shape == pair[1].shape))
    for module, state in once:
        with suppress(Exception):  # a module of the right output that needs more than token ids
            again = module(input_ids=ids, use_cache=False).last_hidden_state
            if torch.allclose(again.float(), state.float(), rtol=1e-3, atol=1e-3 * float(state.abs().max())):
                return module
    raise ScoringError(
        f"{type(model).__name__} has no backbone that runs once before its head: use a causal model of transformers (AutoModelForCausalLM)"
    )


def _probe(model, backbone: torch.nn.Module, ids: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states times ``factor`` (tokens, width), and what the model's own head makes of them (tokens, vocabulary)."""
    seen = []

    def enlarge(module, inputs, output):
        output.last_hidden_state = output.last_hidden_state * factor
        seen.append(output.last_hidden_state[0])
        return output

    hook = backbone.register_forward_hook(enlarge)
    try:
        logits = model(input_ids=ids, use_cache=False).logits[0]
    finally:
        hook.remove()
    return seen[0], logits


def _rules(config) -> list[tuple[float, float | None]]:
    """Every (scale, cap) that the configuration can mean: families differ in whether they multiply or divide."""
    scales = {1.0: None}
    for name in _SCALES:
        value = getattr(config, name, None)
        if isinstance(value, (int, float)) and value > 0:
            scales |= {float(value): None, 1 / float(value): None}
    caps = [
        float(value) for name in _CAPS if isinstance(value := getattr(config, name, None), (int, float)) and value > 0
    ]
    return list(product(scales, [*caps, None]))


def _agrees(head: Head, hidden: torch.Tensor, logits: torch.Tensor) -> bool:
    """Whether the head gives the log-softmax of ``logits``, within the rounding of the model's own number format."""
    reference = logits.float().log_softmax(-1).to(hidden.device)
    # The model's own logits are rounded to its number format; ours are not.
    tolerance = max(2e-5, 6 * torch.finfo(head.weight.dtype).eps) * float(logits.abs().max().clamp_min(1))
    last = torch.full((len(hidden),), reference.shape[1] - 1, device=hidden.device)
    for targets in (reference.argmax(1), reference.argmin(1), last, last // 2):
        expected = reference.gather(1, targets[:, None])[:, 0]
        if not torch.allclose(head.token_logprobs(hidden, targets), expected, rtol=0, atol=tolerance):
            return False
    return True
