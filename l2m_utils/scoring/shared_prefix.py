"""log q(Y | X′) from the pass over the block that X′ comes from: its cached keys and values, cut behind X′, serve every Y that follows it.

A pass over X′ and Y reads |X′| + |Y| tokens.  The pass over the partner's whole block, which log q(Y | X) of that block needs anyhow, has read X′ already;
cut back to the prefix and X′, its cache takes the tokens of Y alone, |Y| of them.  This needs a cache that can be cut anywhere: one of keys and
values by position.  A recurrent state, or a window that slides, cannot go back.

Letters: ``b`` blocks of a batch, ``L`` tokens a block, ``J`` derangements, ``m`` tokens of Y.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

Logprobs = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # hidden (tokens, width), targets (tokens,) → nats


def cuttable(cache) -> bool:
    """Whether a cache of transformers holds plain keys and values in all layers, so that it can go back to any position.

    >>> from transformers import DynamicCache
    >>> cache = DynamicCache()
    >>> _ = cache.update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2), 0)
    >>> cuttable(cache), cuttable(None)
    (True, False)
    """
    layers = getattr(cache, "layers", None)
    return bool(layers) and all(type(layer).__name__ == "DynamicLayer" for layer in layers)


def cuttable_by(config) -> bool:
    """Whether the cache that transformers makes for a model of this configuration is :func:`cuttable`; nothing is loaded.

    >>> from transformers import GPT2Config, MambaConfig
    >>> cuttable_by(GPT2Config()), cuttable_by(MambaConfig())
    (True, False)
    """
    from transformers import DynamicCache

    return cuttable(DynamicCache(config=config))


@torch.inference_mode()
def score_batch(
    backbone: torch.nn.Module,
    logprobs: Logprobs,
    prefix_id: int,
    tokens: torch.Tensor,
    following: Sequence[Sequence[torch.Tensor]],
    splits: Sequence[int],
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Scores (b, L) of blocks ``tokens`` and, for each split ℓ, those (J, b, m) of ``following`` (J arrays (b, m) each) behind the first ℓ tokens of each block; nats.

    ``None`` for a backbone whose cache cannot be cut.  ``splits`` ascend.
    """

    def scored(hidden: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
        return logprobs(hidden.flatten(0, 1), targets.flatten()).view(targets.shape).cpu().numpy()

    inputs = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=prefix_id)
    made = backbone(input_ids=inputs, use_cache=True)
    cache, hidden = made.past_key_values if "past_key_values" in made else None, made.last_hidden_state
    if cache is None or not cuttable(cache):
        return None
    crossed: list[np.ndarray] = [np.empty(0, np.float32)] * len(splits)
    for place in reversed(range(len(splits))):  # the cache only ever gets shorter than it was for the split before
        split, rows = splits[place], []
        for second in following[place]:
            if (more := cache.get_seq_length() - (split + 1)) > 0:  # than the prefix and X′
                cache.crop(-more)
            states = hidden[:, split : split + 1]  # what the block's own pass says behind X′
            if second.shape[1] > 1:
                after = backbone(input_ids=second[:, :-1], past_key_values=cache, use_cache=True)
                cache, states = after.past_key_values, torch.cat([states, after.last_hidden_state], dim=1)
            rows.append(scored(states, second))
        crossed[place] = np.stack(rows)
    return scored(hidden, tokens), crossed
