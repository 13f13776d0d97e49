"""More than one number a token: full laws of the next token, hidden states, entropies, samples, and texts whose tokens last.

A scorer says log q of the token that came.  Some questions ask for the whole law at a few positions, for what a layer holds there, or for the
model's own uncertainty along a text.  All go through the backbone and the head in slices (:mod:`.chunked`): the largest array of logits has
``chunk`` rows, however long the texts are.  Sequences of different lengths share a batch, padded at the right, where a causal model cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

from l2m_utils.scoring.base import ScoringError, check_sequences, encode
from l2m_utils.scoring.chunked import split_model


@dataclass(frozen=True)
class Along:
    """One row a text, one column a token: log q of the token, entropy of its law, and probability that the text ends instead (float32)."""

    logprobs: np.ndarray
    entropies: np.ndarray
    endings: np.ndarray


def answer_ids(tokenizer, answers: Sequence[str]) -> np.ndarray:
    """The one token id of every answer, int64.

    Raises :class:`ScoringError` for no answers, an answer that is not one token, and two answers that are the same token.
    """
    if not answers:
        raise ScoringError("no answers: expected at least one, each a single token")
    found = [encode(tokenizer, answer) for answer in answers]
    for answer, ids in zip(answers, found, strict=True):
        if len(ids) != 1:
            raise ScoringError(
                f"the answer {answer!r} is {len(ids)} tokens of this model: expected one; choose answers that are single tokens, with their leading space"
            )
    taken = np.array([ids[0] for ids in found])
    if len(np.unique(taken)) < len(taken):
        raise ScoringError(f"{len(taken)} answers are {len(np.unique(taken))} different tokens: expected all different")
    return taken


class LawReader:
    """A causal model of transformers whose laws are read after ``prefix_id`` and a text; ``chunk`` is the number of laws held at once.

    Raises :class:`ScoringError` where a sequence cannot be read, as a scorer does.
    """

    def __init__(self, model, prefix_id: int, *, batch_tokens: int = 1024, chunk: int = 128):
        self.model = model.eval()
        self._backbone, self._head = split_model(model)
        self.vocabulary, self.prefix_id = self._head.weight.shape[0], int(prefix_id)
        self.end_id = model.config.get_text_config().eos_token_id  # of a chat model, what ends an answer
        self.context = getattr(model.config.get_text_config(), "max_position_embeddings", 2**31) - 1
        self._batch_tokens, self._chunk = batch_tokens, chunk

    def _log_laws(self, states: torch.Tensor) -> torch.Tensor:
        head, bias = self._head, None if self._head.bias is None else self._head.bias.float()
        logits = torch.nn.functional.linear(states.float(), head.weight.float(), bias) * head.scale
        return (logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)).log_softmax(-1)

    def _batches(self, sequences) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        """Which sequences, their ids behind the prefix, padded at the right (n, 1 + T), and their lengths."""
        checked = check_sequences(sequences, self.vocabulary, self.context)
        order = np.argsort([len(ids) for ids in checked], kind="stable")[::-1]
        while len(order):
            width = len(checked[order[0]]) + 1
            batch, order = np.split(order, [max(1, self._batch_tokens // width)])
            ids = torch.full((len(batch), width), self.prefix_id)
            for row, index in enumerate(batch):
                ids[row, 1 : len(checked[index]) + 1] = torch.from_numpy(checked[index])
            yield batch, ids, torch.tensor([len(checked[index]) for index in batch])

    @torch.inference_mode()
    def laws(self, sequences, prompt: Sequence[int] = ()) -> np.ndarray:
        """log q(· | prefix, prompt, sequence) of the token after each sequence behind one prompt, which is read once; float32 (sequences, vocabulary)."""
        laws = np.empty((len(sequences), self.vocabulary), dtype=np.float32)
        cache = self._read(np.asarray(prompt, dtype=np.int64))[1]
        for batch, ids, lengths in self._batches(sequences):
            states = self._continue(cache, ids[:, 1:]).last_hidden_state
            laws[batch] = self._log_laws(states[torch.arange(len(batch)), lengths - 1]).numpy()
        return laws

    @torch.inference_mode()
    def laws_at(self, ids: np.ndarray, at: Sequence[int]) -> np.ndarray:
        """log q(· | prefix, first k tokens of ``ids``) for every k of ``at``, float32 (positions, vocabulary); one pass, and all of them held at once."""
        (checked,) = check_sequences([ids], self.vocabulary, self.context)
        if min(at) < 0 or max(at) > len(checked):
            raise ScoringError(
                f"positions {min(at)} to {max(at)} of {len(checked)} tokens: expected 0 to {len(checked)}"
            )
        read = self._backbone(input_ids=torch.tensor([[self.prefix_id, *checked.tolist()]]), use_cache=False)
        return self._log_laws(read.last_hidden_state[0, list(at)]).numpy()

    @torch.inference_mode()
    def hidden(self, sequences, layers: Sequence[int], prompt: Sequence[int] = ()) -> np.ndarray:
        """What ``layers`` (0: the embedding, last: after the final norm) hold at the last token of each sequence behind one prompt, which is read once.

        float32 (sequences, layers, width).
        """
        found: list[np.ndarray] = [np.empty(0)] * len(sequences)
        cache = self._read(np.asarray(prompt, dtype=np.int64))[1]
        for batch, ids, lengths in self._batches(sequences):
            states = self._continue(cache, ids[:, 1:], output_hidden_states=True).hidden_states
            kept = torch.stack([states[layer][torch.arange(len(batch)), lengths - 1] for layer in layers], dim=1)
            for index, row in zip(batch, kept.float().numpy(), strict=True):
                found[index] = row
        return np.stack(found)

    @torch.inference_mode()
    def after(self, prompt, continuations) -> list[np.ndarray]:
        """log q of every token of each continuation of one prompt, which is read once; float32, in the given order."""
        (ids,) = check_sequences([prompt], self.vocabulary, self.context)
        checked = check_sequences(continuations, self.vocabulary, self.context - len(ids))
        (state, cache), n, width = self._read(ids), len(checked), max(map(len, checked))
        padded = torch.zeros((n, width), dtype=torch.int64)
        for row, tokens in enumerate(checked):
            padded[row, : len(tokens)] = torch.from_numpy(tokens)
        states = self._continue(cache, padded).last_hidden_state
        states = torch.cat([state.expand(n, 1, -1), states[:, :-1]], dim=1)
        scores = self._head.token_logprobs(states.flatten(0, 1), padded.flatten()).view(n, width).numpy()
        return [scores[row, : len(tokens)] for row, tokens in enumerate(checked)]

    def _read(self, ids: np.ndarray):
        """The last state (1, 1, width) and the cache after the prefix and ``ids``."""
        read = self._backbone(input_ids=torch.tensor([[self.prefix_id, *ids.tolist()]]), use_cache=True)
        return read.last_hidden_state[:, -1:], read.past_key_values

    def _continue(self, cache, ids: torch.Tensor, **asked):
        """What the backbone says of ``ids`` (n, T), each row behind the one text of ``cache``, which stays as it is."""
        cache = deepcopy(cache)
        cache.batch_repeat_interleave(len(ids))
        return self._backbone(input_ids=ids, past_key_values=cache, use_cache=True, **asked)

    @torch.inference_mode()
    def along(self, sequences, ends: Sequence[int], skip: int = 0) -> Along:
        """Scores, entropies and probability of the tokens ``ends`` at every token but the first ``skip`` of texts of one length."""
        if len({len(ids) for ids in sequences}) != 1:
            raise ScoringError("texts of different lengths: expected one length, so that columns are positions")
        rows = np.empty((3, len(sequences), len(sequences[0]) - skip), dtype=np.float32)
        for batch, ids, _ in self._batches(sequences):
            states = self._backbone(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[:, skip:].flatten(0, 1)
            targets = ids[:, 1 + skip :].flatten()
            parts = [
                self._statistics(self._log_laws(part), there, ends)
                for part, there in zip(states.split(self._chunk), targets.split(self._chunk), strict=True)
            ]
            rows[:, batch] = torch.cat(parts, dim=1).view(3, len(batch), -1).numpy()
        return Along(*rows)

    @staticmethod
    def _statistics(laws: torch.Tensor, targets: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
        chosen = laws.gather(1, targets[:, None])[:, 0]
        chances = laws.exp()
        return torch.stack([chosen, -(chances * laws).sum(dim=1), chances[:, list(ends)].sum(dim=1)])

    @torch.inference_mode()
    def sample(
        self, prompts, tokens: int, temperature: float, ends: Sequence[int], rng: np.random.Generator
    ) -> tuple[np.ndarray, Along]:
        """``tokens`` tokens after each prompt (all of one length), drawn from q^(1/temperature), normalised; and what ``along`` says of them under q."""
        if not temperature > 0 or tokens < 1:
            raise ScoringError(f"{tokens} tokens at temperature {temperature}: expected at least one, above 0")
        ids = torch.from_numpy(np.stack(check_sequences(prompts, self.vocabulary, self.context - tokens)))
        ids = torch.nn.functional.pad(ids, (1, 0), value=self.prefix_id)
        cache, drawn, rows = None, [], []
        for _ in range(tokens):
            read = self._backbone(input_ids=ids, past_key_values=cache, use_cache=True)
            cache, laws = read.past_key_values, self._log_laws(read.last_hidden_state[:, -1])
            steps = (laws / temperature).softmax(-1).double().cumsum(-1)
            chance = torch.from_numpy(rng.random((len(laws), 1))) * steps[:, -1:]
            ids = torch.searchsorted(steps, chance, right=True).clamp_max(self.vocabulary - 1)
            drawn.append(ids)
            rows.append(self._statistics(laws, ids[:, 0], ends))
        return torch.cat(drawn, dim=1).numpy(), Along(*torch.stack(rows, dim=2).numpy())

    @torch.inference_mode()
    def lasting_laws(self, prompt, ids: np.ndarray, durations: np.ndarray, shift: float = 0.0) -> np.ndarray:
        """Laws (n, vocabulary) after one prompt of unit durations and ``ids`` (n, T) of ``durations`` (n, T): ln d joins the keys' scores, positions are running sums.

        ``shift`` moves all positions.  Raises :class:`ScoringError` for a duration that is not above 0.
        """
        if not (durations > 0).all():
            raise ScoringError(
                f"a duration of {durations.min():g}: expected durations above 0; leave a token out instead"
            )
        (n, width), before, lasts = ids.shape, len(prompt) + 1, torch.from_numpy(durations).float()
        start = torch.arange(before)[None].float() + shift
        first = torch.tensor([[self.prefix_id, *map(int, prompt)]])
        cache = self._backbone(input_ids=first, position_ids=start, use_cache=True).past_key_values
        mask = torch.full((width, width), -torch.inf).triu(1) + lasts.log()[:, None, None, :]
        mask = torch.cat([torch.zeros(n, 1, width, before), mask], dim=-1).to(self.model.dtype)
        positions = before - 1 + shift + lasts.cumsum(dim=1)
        read = self._continue(cache, torch.from_numpy(ids), attention_mask=mask, position_ids=positions)
        return self._log_laws(read.last_hidden_state[:, -1]).numpy()


def open_reader(model: str, prefix_id: int | None = None):
    """A reader of a local folder or a packaged model (:mod:`.packaged`), its tokenizer, and what names it in records."""
    from l2m_utils.scoring.connect import connect, read_tokenizer
    from l2m_utils.scoring.transformers import TransformersScorer

    scorer = connect("transformers", model, dtype="float32", prefix_id=prefix_id)
    assert isinstance(scorer, TransformersScorer)
    name = f"{scorer.identity['model']} {scorer.identity['revision'][:14]}"
    return LawReader(scorer.model, scorer.prefix_id), read_tokenizer(model), name
