"""The scorer of models: parity with full logits, and one clear error for each bad input."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils._python_dispatch import TorchDispatchMode

from l2m_utils.scoring.base import NO_LIMIT, Scorer, ScoringError, check_tokenizer, choose_prefix, encode
from l2m_utils.scoring.chunked import token_logprobs
from l2m_utils.scoring.stored import StoredScorer
from l2m_utils.scoring.transformers import TransformersScorer, weights_fingerprint

VOCABULARY = 97
IDS = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=2)
SMALL = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    **IDS,
)
TOWER = dict(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
)
FAMILIES = {
    "gpt2": lambda: hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **IDS),
    "llama": lambda: hf.LlamaConfig(**SMALL),
    "mistral": lambda: hf.MistralConfig(sliding_window=4, **SMALL),
    "qwen3": lambda: hf.Qwen3Config(head_dim=8, **SMALL),
    "gemma2": lambda: hf.Gemma2Config(head_dim=8, sliding_window=4, final_logit_softcapping=3.0, **SMALL),
    "gemma3": lambda: hf.Gemma3TextConfig(head_dim=8, sliding_window=4, final_logit_softcapping=3.0, **SMALL),
    "deepseek-v3": lambda: hf.DeepseekV3Config(
        **SMALL | dict(num_key_value_heads=4),
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_shared_experts=1,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    ),
    "mamba": lambda: hf.MambaConfig(hidden_size=16, state_size=4, num_hidden_layers=2, **IDS),
    "mamba2": lambda: hf.Mamba2Config(
        hidden_size=16, state_size=8, num_heads=4, head_dim=8, n_groups=2, chunk_size=4, num_hidden_layers=2, **IDS
    ),
    "recurrent-gemma": lambda: hf.RecurrentGemmaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        lru_width=32,
        logits_soft_cap=3.0,
        **IDS,
    ),
    "gpt-neox": lambda: hf.GPTNeoXConfig(
        **{key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
    ),
    "phi": lambda: hf.PhiConfig(**SMALL),  # a head with bias
    "opt": lambda: hf.OPTConfig(
        hidden_size=32,
        word_embed_proj_dim=16,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        **IDS,
    ),
    "cohere": lambda: hf.CohereConfig(logit_scale=0.25, **SMALL),  # logits multiplied
    "granite": lambda: hf.GraniteConfig(logits_scaling=4.0, **SMALL),  # logits divided
    "llama4": lambda: hf.Llama4Config(  # its backbone goes by no name that its class gives
        text_config=SMALL | dict(head_dim=8, intermediate_size_mlp=48, num_local_experts=2, num_experts_per_tok=1),
        vision_config=TOWER,
    ),
    "gemma3-vision": lambda: hf.Gemma3Config(  # a language model beside a vision tower
        text_config=SMALL | dict(head_dim=8, sliding_window=4),
        vision_config=TOWER,
        mm_tokens_per_image=4,
        image_token_index=95,
    ),
}


@cache
def tiny(family: str):
    """A tiny random model whose logits are some units wide, so that scales and caps matter."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = hf.AutoModelForCausalLM.from_config(FAMILIES[family]()).eval()
    with torch.no_grad():
        head = model.get_output_embeddings()
        head.weight.mul_(2.0 / head.weight.std() / head.weight.shape[1] ** 0.5)
        if head.bias is not None:
            head.bias.copy_(torch.linspace(-1, 1, VOCABULARY))
    return model


@cache
def pool(family: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sequences of several lengths and their log-probabilities by the plain way: all logits, float32 log-softmax."""
    rng = np.random.default_rng(3)
    sequences = [rng.integers(0, VOCABULARY, size=length) for length in (5, 12, 1, 5, 12, 7, 12)]
    sequences[1][:4] = 2  # EOS, which is also padding, is a token like any other
    scores = []
    for sequence in sequences:
        with torch.no_grad():
            logits = tiny(family)(input_ids=torch.tensor([[1, *sequence]]), use_cache=False).logits[0, :-1].float()
        scores.append(logits.log_softmax(-1)[torch.arange(len(sequence)), torch.from_numpy(sequence)].numpy())
    return sequences, scores


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    order=st.lists(st.integers(0, 6), min_size=1, max_size=7),
    batch_tokens=st.integers(1, 60),
    chunk_tokens=st.integers(1, 40),
    chunk_vocabulary=st.integers(1, 120),
)
def test_parity_with_full_logits(family, order, batch_tokens, chunk_tokens, chunk_vocabulary):
    scorer = TransformersScorer(
        tiny(family), batch_tokens=batch_tokens, chunk_tokens=chunk_tokens, chunk_vocabulary=chunk_vocabulary
    )
    assert isinstance(scorer, Scorer) and scorer.prefix_id == 1 and scorer.vocabulary == VOCABULARY
    sequences, expected = pool(family)
    scores = scorer.score([sequences[index] for index in order])
    for index, row in zip(order, scores, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, expected[index], rtol=0, atol=1e-5)


SHARES = {
    "gpt2",
    "llama",
    "qwen3",
    "deepseek-v3",
    "gpt-neox",
    "phi",
    "opt",
    "cohere",
    "granite",
}  # caches that can be cut


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 50])
def test_reading_a_prefix_once_changes_no_score(family, batch_tokens, tmp_path):
    """q(y | x′) from the pass over the partner's own block against one pass a sequence, and what the model says before and after."""
    scorer = TransformersScorer(tiny(family), batch_tokens=batch_tokens)
    rng = np.random.default_rng(5)
    tokens, partners = rng.integers(0, VOCABULARY, (5, 12)), np.array([[1, 2, 3, 4, 0], [3, 4, 0, 1, 2]])
    splits, lengths = [1, 2, 4, 6], [1, 4, 8, 6]
    users = np.argsort(partners, axis=1)
    behind = [tokens[users, split : split + length] for split, length in zip(splits, lengths, strict=True)]
    before = scorer.score(list(tokens))
    fed = []
    hook = scorer.model.get_input_embeddings().register_forward_hook(lambda _, ids, __: fed.append(ids[0].numel()))
    made = scorer.score_crossed(tokens, behind, splits)
    hook.remove()
    assert (made is not None) == (family in SHARES) == scorer.shares_prefixes
    if made is not None:
        np.testing.assert_allclose(made[0], np.stack(before), rtol=0, atol=1e-5)
        for split, length, found in zip(splits, lengths, made[1], strict=True):
            for row, partner in zip(np.take_along_axis(found, partners[..., None], axis=1), partners, strict=True):
                joined = np.concatenate([tokens[partner, :split], tokens[:, split : split + length]], axis=1)
                np.testing.assert_allclose(row, np.stack(scorer.score(list(joined)))[:, -length:], rtol=0, atol=1e-5)
        assert sum(fed) == tokens.size + partners.size * sum(length - 1 for length in lengths)
        for _ in range(2):  # kept, then found: the same bits
            kept = StoredScorer(scorer, tmp_path, shard_tokens=10**6).score_crossed(tokens, behind, splits)
            for one, other in zip((made[0], *made[1]), (kept[0], *kept[1]), strict=True):
                np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.stack(scorer.score(list(tokens))), np.stack(before))


def test_scores_are_of_a_model_that_prefers_some_tokens():
    """The parity test means something only if scores vary by nats."""
    for family in FAMILIES:
        assert np.std(np.concatenate(pool(family)[1])) > 0.2, family


@given(shift=st.floats(-1e4, 1e4), tokens=st.integers(1, 9), vocabulary=st.integers(1, 30), chunk=st.integers(1, 31))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_head_agrees_with_float64_at_any_size_of_logits(shift, tokens, vocabulary, chunk):
    generator = torch.Generator().manual_seed(tokens * 100 + vocabulary)
    hidden = torch.randn(tokens, 6, generator=generator)
    weight = torch.randn(vocabulary, 6, generator=generator)
    bias = torch.full((vocabulary,), shift)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    expected = (hidden.double() @ weight.double().T + bias.double()).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    found = token_logprobs(hidden, targets, weight, bias, chunk_tokens=chunk, chunk_vocabulary=chunk)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 + 1e-6 * abs(shift))


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not result._is_view():
            self.elements = max(self.elements, result.numel())
        return result


def test_never_makes_all_logits():
    hidden, weight = torch.randn(300, 4), torch.randn(500, 4)
    targets = torch.arange(300)
    with Largest() as full:
        expected = (hidden @ weight.T).log_softmax(-1)[targets, targets]
    with Largest() as chunked:
        found = token_logprobs(hidden, targets, weight, chunk_tokens=32, chunk_vocabulary=64)
    assert full.elements == 300 * 500
    assert chunked.elements <= 32 * 64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_bfloat16_weights_get_a_float32_head():
    model = hf.AutoModelForCausalLM.from_config(FAMILIES["llama"]()).eval()
    model.load_state_dict(tiny("llama").state_dict())
    model.to(torch.bfloat16)
    scorer = TransformersScorer(model)
    sequence = pool("llama")[0][1]
    inputs = torch.tensor([[1, *sequence[:-1]]])
    with torch.no_grad():
        hidden = model.model(input_ids=inputs).last_hidden_state[0]
        exact = (hidden.double() @ model.lm_head.weight.double().T).log_softmax(-1)
        rounded = model(input_ids=inputs).logits[0].float().log_softmax(-1)
    rows = np.arange(len(sequence))
    found = scorer.score([sequence])[0]
    assert scorer.identity["dtype"] == "bfloat16"
    assert np.abs(found - exact[rows, sequence].numpy()).max() < 1e-5
    assert (
        np.abs(rounded[rows, sequence].numpy() - exact[rows, sequence].numpy()).max() > 1e-3
    )  # what a bfloat16 head would give


class CapOfItsOwn(hf.LlamaForCausalLM):
    """A soft cap of 100 that no configuration declares: invisible while logits are small."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = 100 * torch.tanh(output.logits / 100)
        return output


def test_a_head_that_cannot_be_reproduced_is_refused():
    with pytest.raises(ScoringError, match="does more than a scale and a soft cap"):
        TransformersScorer(CapOfItsOwn(FAMILIES["llama"]()))


def test_damaged_weights_are_refused():
    model = hf.AutoModelForCausalLM.from_config(FAMILIES["llama"]())
    with torch.no_grad():
        model.lm_head.weight[3, 0] = torch.nan
    with pytest.raises(ScoringError, match="not finite"):
        TransformersScorer(model)


def test_a_head_that_is_no_linear_layer_is_refused():
    model = hf.AutoModelForCausalLM.from_config(FAMILIES["llama"]())
    model.lm_head = torch.nn.Sequential(model.lm_head)
    with pytest.raises(ScoringError, match="plain linear layer"):
        TransformersScorer(model)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
)
def test_batch_is_halved_when_memory_runs_out(monkeypatch, error):
    sequences, expected = pool("gpt2")
    scorer = TransformersScorer(tiny("gpt2"), batch_tokens=48)
    forward, sizes = scorer._backbone.forward, []

    def tight(input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > 1:
            raise error
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(scorer._backbone, "forward", tight)
    with pytest.warns(RuntimeWarning, match="out of memory on . sequences") as seen:
        scores = scorer.score(sequences)
    assert str(seen[0].message) == "out of memory on 3 sequences of 12 tokens: the batch is now 18 tokens"
    assert sizes[0] == 3 and scorer.batch_tokens < 24
    for row, known in zip(scores, expected, strict=True):
        np.testing.assert_allclose(row, known, rtol=0, atol=1e-5)


def test_memory_that_does_not_suffice_for_one_sequence(monkeypatch):
    scorer = TransformersScorer(tiny("gpt2"))

    def none(**options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(scorer._backbone, "forward", none)
    with pytest.raises(ScoringError, match="single sequence of 9 tokens"):
        scorer.score([[3] * 9])

    def broken(**options):
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(scorer._backbone, "forward", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):  # only memory is retried
        scorer.score([[3] * 9])


BAD_SEQUENCES = {
    "empty document": ([], "sequence 1 is empty"),
    "longer than the context": ([3] * 65, "65 tokens, the model's context allows 64"),
    "negative id": ([5, -1], "token id -1 at position 1"),
    "id beyond the vocabulary": ([5, 6, 97], "token id 97 at position 2 is outside the vocabulary of 97"),
    "floats": ([0.5], "float64"),
    "two dimensions": ([[1, 2]], r"shape \(1, 2\)"),
}


@pytest.mark.parametrize("name", BAD_SEQUENCES)
def test_bad_sequences(name):
    sequence, message = BAD_SEQUENCES[name]
    with pytest.raises(ScoringError, match=message):
        TransformersScorer(tiny("gpt2")).score([[3, 4], sequence])


def test_context_is_the_number_of_positions():
    scorer = TransformersScorer(tiny("gpt2"))
    assert scorer.context == 64  # the prefix takes one position, the last token needs none
    assert len(scorer.score([[3] * 64])[0]) == 64
    assert TransformersScorer(tiny("mamba")).context == NO_LIMIT


class Named:
    def __init__(self, bos=None, eos=None):
        self.bos_token_id, self.eos_token_id = bos, eos


def test_prefix_is_bos_else_eos():
    assert choose_prefix(Named(5, 6)) == 5
    assert choose_prefix(Named(0, 6)) == 0  # id 0 is an id
    assert choose_prefix(Named(None, 6)) == 6
    assert choose_prefix(Named(None, [6])) == 6
    with pytest.raises(ScoringError, match="neither a BOS nor an EOS"):
        choose_prefix(Named())
    with pytest.raises(ScoringError, match=r"\[6, 7\]"):
        choose_prefix(Named(None, [6, 7]))
    with pytest.raises(ScoringError, match="prefix id 97 is outside"):
        TransformersScorer(tiny("gpt2"), 97)


def test_prefix_is_explicit_and_matters():
    sequence = [[9, 10, 11]]
    bos, eos = (TransformersScorer(tiny("gpt2"), prefix).score(sequence)[0] for prefix in (1, 2))
    assert np.abs(bos - eos).max() > 1e-3


def words(automatic_bos: bool):
    """A tiny word tokenizer, with or without a BOS of its own accord."""
    vocabulary = {word: index for index, word in enumerate(["<unk>", "<s>", "</s>", "a", "b", "c"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if automatic_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("automatic_bos", [True, False])
def test_encode_never_adds_a_token(automatic_bos):
    tokenizer = words(automatic_bos)
    assert tokenizer("a b")["input_ids"] == ([1, 3, 4] if automatic_bos else [3, 4])
    assert encode(tokenizer, "a b").tolist() == [3, 4]
    assert 1 not in encode(tokenizer, "a <s> b")  # a marker in the text is text
    assert encode(tokenizer, "").size == 0


def test_encode_refuses_a_tokenizer_that_adds_all_the_same():
    class Stubborn:
        bos_token_id, eos_token_id = 1, 2

        def __call__(self, text, **options):
            return {"input_ids": [1, 3, 4]}

    with pytest.raises(ScoringError, match="added a special token"):
        encode(Stubborn(), "a b")


def test_tokenizer_of_another_model():
    tokenizer = words(False)
    check_tokenizer(tokenizer, 6)
    check_tokenizer(tokenizer, 64)  # a vocabulary padded to a round number
    check_tokenizer(tokenizer, 2048)
    check_tokenizer(tokenizer, 5, ids=[3, 4, 0])  # a padding token that the model never saw
    with pytest.raises(ScoringError, match="holds token id 5, the model has 5"):
        check_tokenizer(tokenizer, 5, ids=[3, 5, 0])
    with pytest.raises(ScoringError, match="tokenizer of another model"):
        check_tokenizer(tokenizer, 50_257)


def test_from_pretrained_local_folder(tmp_path):
    model = tiny("llama")
    model.save_pretrained(tmp_path)
    scorer = TransformersScorer.from_pretrained(str(tmp_path), dtype="float32")
    sequences, expected = pool("llama")
    np.testing.assert_allclose(scorer.score(sequences)[1], expected[1], rtol=0, atol=1e-5)
    assert scorer.prefix_id == 1
    assert scorer.identity["revision"] == weights_fingerprint(model)  # the same weights, wherever they come from
    words(True).save_pretrained(tmp_path)
    assert TransformersScorer.from_pretrained(str(tmp_path), dtype="float32", device_map="cpu").prefix_id == 1
    tokenizer = words(True)
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path)
    assert (
        TransformersScorer.from_pretrained(str(tmp_path), dtype="float32").prefix_id == 2
    )  # the tokenizer knows better than the configuration


def test_from_pretrained_refuses_what_cannot_be_repeated_or_trusted(tmp_path):
    with pytest.raises(ScoringError, match="pin a hub model to a commit"):
        TransformersScorer.from_pretrained("someone/some-model")
    with pytest.raises(ScoringError, match="pin a hub model to a commit"):
        TransformersScorer.from_pretrained("someone/some-model", revision="main")
    model = tiny("gpt2")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ScoringError, match=r"pytorch_model\.bin, a format that can run code.*save_pretrained"):
        TransformersScorer.from_pretrained(str(tmp_path))


def test_fingerprint_sees_one_weight_and_the_configuration():
    model = hf.AutoModelForCausalLM.from_config(FAMILIES["llama"]())
    before = weights_fingerprint(model)
    with torch.no_grad():
        model.lm_head.weight[5, 5] += 1
    changed = weights_fingerprint(model)
    model.config.rms_norm_eps *= 2
    assert len({before, changed, weights_fingerprint(model)}) == 3
