"""Scores of causal models of the transformers library, on a CPU, one GPU, or several by ``device_map``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from l2m_utils.files import checksum
from l2m_utils.memory import out_of_memory
from l2m_utils.scoring.base import (
    NO_LIMIT,
    ScoringError,
    check_logprobs,
    check_sequences,
    choose_prefix,
    equal_length_batches,
    pinned,
)
from l2m_utils.scoring.chunked import CHUNK, split_model
from l2m_utils.scoring.loading import load_causal_model, load_tokenizer
from l2m_utils.scoring.shared_prefix import cuttable_by, score_batch

BATCH_TOKENS = 8192  # of one forward pass


class TransformersScorer:
    """A causal model as a scorer: backbone, then the head in slices (see :mod:`.chunked`).

    Parameters
    ----------
    model : a causal language model object; it is put in evaluation mode.
    prefix_id : the token before every sequence; by default BOS, else EOS of the configuration.
    name, revision : what identifies the model in stored records; without a revision, a hash of its weights and configuration.
    context : longest sequence; by default the number of positions that the configuration names.
    batch_tokens : most tokens in one forward pass; halved, with a warning, whenever memory runs out.
    chunk_tokens, chunk_vocabulary : size of the largest array of logits.

    A batch holds sequences of one length, longest first, so nothing is padded and no mask is needed.  A
    padding token that equals EOS is a token like any other.  Weights may be bfloat16; the head is
    float32.  Raises :class:`ScoringError` when the head cannot be reproduced (see :func:`.chunked.split_model`).
    ``shares_prefixes`` says whether :meth:`score_crossed` is worth asking.
    """

    def __init__(
        self,
        model,
        prefix_id: int | None = None,
        *,
        name: str = "",
        revision: str = "",
        context: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        chunk_tokens: int = CHUNK[0],
        chunk_vocabulary: int = CHUNK[1],
    ):
        self.model = model.eval()
        self._backbone, self._head = split_model(model)
        config = model.config.get_text_config()
        self.vocabulary = self._head.weight.shape[0]
        self.prefix_id = choose_prefix(config) if prefix_id is None else int(prefix_id)
        if not 0 <= self.prefix_id < self.vocabulary:
            raise ScoringError(
                f"prefix id {self.prefix_id} is outside the vocabulary of {self.vocabulary}: pass the id of BOS or EOS"
            )
        self.context = context or getattr(config, "max_position_embeddings", None) or NO_LIMIT
        self.batch_tokens = batch_tokens
        self.shares_prefixes = cuttable_by(model.config)
        self._chunks = {"chunk_tokens": chunk_tokens, "chunk_vocabulary": chunk_vocabulary}
        self.identity = {
            "backend": "transformers",
            "model": name or type(model).__name__,
            "revision": revision or weights_fingerprint(model),
            "dtype": str(model.dtype).removeprefix("torch."),
        }

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str = "",
        dtype: str = "auto",
        device_map=None,
        prefix_id: int | None = None,
        **options,
    ):
        """Load ``name``, a local folder or a hub id, which must then be pinned to a ``revision`` (a commit hash).

        ``dtype`` and ``device_map`` are those of ``AutoModelForCausalLM.from_pretrained``; ``options`` those
        of this class.  The prefix is the tokenizer's BOS, else its EOS, if a tokenizer lies beside the
        model.  Raises what :func:`.loading.load_causal_model` raises: a model is loaded whole or not at all.
        """
        commit = pinned(name, revision)
        model = load_causal_model(name, commit, dtype=dtype, device_map=device_map)
        if prefix_id is None:
            with suppress(ScoringError):  # no tokenizer beside the model: its configuration names the prefix
                prefix_id = choose_prefix(load_tokenizer(name, commit))
        return cls(model, prefix_id, name=name if commit else Path(name).resolve().name, revision=revision, **options)

    def score(self, sequences) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, in the given order.

        Raises :class:`ScoringError` for ids outside the vocabulary, empty or too long sequences, scores
        that are no log-probabilities, and when one sequence alone does not fit into memory.
        """
        checked = check_sequences(sequences, self.vocabulary, self.context)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(checked)
        pending = list(equal_length_batches(checked, self.batch_tokens))[::-1]
        with tqdm(
            total=sum(map(len, checked)), desc="scoring", unit="token", unit_scale=True, delay=5, leave=False
        ) as bar:
            while pending:
                batch = pending.pop()
                length = len(checked[batch[0]])
                if (
                    len(batch) > 1 and len(batch) * length > self.batch_tokens
                ):  # batch_tokens has shrunk since the plan was made
                    half = (len(batch) + 1) // 2
                    pending += [batch[half:], batch[:half]]
                    continue
                rows = self._forward(np.stack([checked[index] for index in batch]))
                if rows is None:
                    self._shrink(len(batch), length)
                    pending.append(batch)
                    continue
                for index, row in zip(batch, rows, strict=True):
                    scores[index] = check_logprobs(row, length, self.identity["model"])
                bar.update(len(batch) * length)
        return scores

    def score_crossed(
        self, tokens: np.ndarray, following: Sequence[np.ndarray], splits: Sequence[int]
    ) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Scores (n, L) of the blocks ``tokens``, and for each split ℓ those of ``following`` (J, n, m) behind the first ℓ tokens of each block.

        These ℓ tokens are not read again (:mod:`.shared_prefix`); ``None`` for a model whose cache cannot be cut, or a block that does not fit
        into memory with its cache: score the sequences one by one then.  Raises what :meth:`score` raises.
        """
        checked = np.stack(check_sequences(tokens, self.vocabulary, self.context))
        conditional = np.empty(checked.shape, np.float32)
        behind = [np.asarray(second, np.int64) for second in following]
        for second in behind:
            check_sequences(second.reshape(-1, second.shape[-1]), self.vocabulary, self.context)
        crossed = [np.empty(second.shape, np.float32) for second in behind]
        device = self.model.get_input_embeddings().weight.device
        step = max(1, self.batch_tokens // checked.shape[1])
        for first in tqdm(range(0, len(checked), step), desc="scoring", unit="batch", delay=5, leave=False):
            rows = slice(first, first + step)
            try:
                made = score_batch(
                    self._backbone,
                    lambda hidden, targets: self._head.token_logprobs(hidden, targets, **self._chunks),
                    self.prefix_id,
                    torch.from_numpy(checked[rows]).to(device),
                    [[torch.from_numpy(part[rows]).to(device) for part in second] for second in behind],
                    splits,
                )
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                made = None
            if made is None:
                return None
            conditional[rows] = made[0]
            for found, part in zip(crossed, made[1], strict=True):
                found[:, rows] = part
        for array in (conditional, *crossed):
            flat = array.reshape(-1)
            flat[:] = check_logprobs(flat, flat.size, self.identity["model"])
        return conditional, crossed

    @torch.inference_mode()
    def _forward(self, tokens: np.ndarray) -> np.ndarray | None:
        """Scores (n, length) of a batch of token ids (n, length); None when memory ran out."""
        try:
            targets = torch.from_numpy(tokens).to(self.model.get_input_embeddings().weight.device)
            inputs = torch.nn.functional.pad(targets[:, :-1], (1, 0), value=self.prefix_id)
            hidden = self._backbone(input_ids=inputs, use_cache=False).last_hidden_state
            return (
                self._head.token_logprobs(hidden.flatten(0, 1), targets.flatten(), **self._chunks)
                .view(tokens.shape)
                .cpu()
                .numpy()
            )
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None

    def _shrink(self, size: int, length: int) -> None:
        """Halve the batch after memory ran out on ``size`` sequences of ``length`` tokens."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise ScoringError(
                f"out of memory on a single sequence of {length} tokens: use shorter blocks, bfloat16 weights, or a device_map over more devices"
            )
        self.batch_tokens = max(length, size * length // 2)
        warnings.warn(
            f"out of memory on {size} sequences of {length} tokens: the batch is now {self.batch_tokens} tokens",
            RuntimeWarning,
            stacklevel=3,
        )


def weights_fingerprint(model) -> str:
    """A hash (hex) of a model's weights and configuration; equal models have equal hashes wherever they were loaded from."""
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if key not in ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
    }

    def content() -> Iterator[bytes]:
        yield json.dumps(config, sort_keys=True, default=str).encode()
        for name, tensor in sorted(model.state_dict().items()):
            if tensor.is_meta:
                raise ScoringError(
                    f"weights of {name} are offloaded, so the model cannot be hashed: pass revision=, by which stored scores are found again"
                )
            yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
            yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()

    return checksum(content())[:32]
