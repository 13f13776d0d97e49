"""History states from configs and from published formulas, against counts made by hand and by brute force."""

import html
import json
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.state import published as formulas
from l2m_utils.state.atlas import architectures, atlas, family, kinds_counted, plain_text, short
from l2m_utils.state.catalogue import MODELS, config_of, model, models
from l2m_utils.state.condition import TextLaw, l2m_condition
from l2m_utils.state.kinds import KINDS, Architecture, Growth, HistoryState, StateError, Term
from l2m_utils.state.published import published
from l2m_utils.state.transformers_configs import READERS, architecture_of, history_state


# --- counts made by hand from the papers ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "length", "elements"),
    [
        ("GPT-2 small", 1024, 2 * 12 * 768 * 1024),
        ("Llama-2-7B", 4096, 2 * 32 * 32 * 128 * 4096),
        ("Llama-3.1-405B", 131072, 2 * 126 * 8 * 128 * 131072),
        ("Falcon-7B", 2048, 2 * 32 * 64 * 2048),
        ("Falcon-40B", 2048, 2 * 60 * 8 * 64 * 2048),
        ("DeepSeek-V3", 4096, 61 * (512 + 64) * 4096),
        ("Mistral-7B-v0.1", 100_000, 2 * 32 * 8 * 128 * 4095),
        ("Mistral-7B-v0.1", 100, 2 * 32 * 8 * 128 * 100),
        ("Gemma-3-27B", 50_000, 2 * 16 * 128 * (10 * 50_000 + 52 * 1023)),
        ("GPT-OSS-20B", 10_000, 2 * 8 * 64 * (12 * 10_000 + 12 * 127)),
        ("Llama-4-Scout", 20_000, 2 * 8 * 128 * (12 * 20_000 + 36 * 8191)),
        ("Mamba-130M", 5000, 24 * (1536 * 16 + 1536 * 3)),
        ("Mamba2-370M", 5000, 48 * (2048 * 128 + (2048 + 2 * 128) * 3)),
        ("RWKV-4-169M", 5000, 12 * 5 * 768),
        ("xLSTM-7B", 5000, 32 * 8 * (256 * 512 + 256 + 1)),
        ("Jamba-v0.1", 1000, 4 * 2 * 8 * 128 * 1000 + 28 * 8192 * (16 + 3)),
        ("RecurrentGemma-2B", 9999, 8 * 2 * 256 * 2047 + 18 * 2560 * (1 + 3)),
        ("Qwen3-Next-80B", 1000, 12 * 2 * 2 * 256 * 1000 + 36 * (32 * 128 * 128 + (2 * 16 * 128 + 32 * 128) * 3)),
        ("MiniMax-Text-01", 1000, 10 * 2 * 8 * 128 * 1000 + 70 * 64 * 128 * 128),
        ("LFM2-1.2B", 1000, 6 * 2 * 8 * 64 * 1000 + 10 * 2048 * 2),
    ],
)
def test_counts_by_hand(name, length, elements):
    assert model(name).at(length).elements == elements
    assert history_state(config_of(name), length).elements == elements


def test_stuffed_mamba_state_size():
    # Mamba-2 of width d and n layers keeps 256·d numbers a layer besides the convolution (arXiv 2410.07145).
    for name, layers, width in (("Mamba2-130M", 24, 768), ("Mamba2-2.7B", 64, 2560)):
        assert model(name).at(10).by_kind["recurrent"] == 256 * width * layers


def test_every_named_model_is_counted_and_its_type_verified():
    assert len(models()) == len(MODELS) >= 45
    assert {one.model_type for one in models()} <= set(READERS)
    assert kinds_counted() >= 25
    for one in architectures():
        state = one.at(5000)
        assert state.elements == sum(state.by_kind.values()) > 0
        assert set(state.by_kind) <= set(KINDS)
        assert state.cached >= state.elements
        assert one.formula.count("×") >= len(one.terms)


@given(st.sampled_from(architectures()), st.integers(1, 10**9), st.integers(1, 10**9))
def test_state_never_shrinks_and_grows_at_most_linearly(architecture, a, b):
    low, high = sorted((a, b))
    small, large = architecture.at(low).elements, architecture.at(high).elements
    assert small <= large
    if architecture.bounded:
        assert architecture.at(10**9).elements == architecture.at(10**8).elements
    # chunks and levels jump: 8 items at once at the most here
    assert large * low <= (small + sum(t.layers * t.width for t in architecture.terms)) * high * 1.0000001


@given(st.integers(1, 10**12))
def test_growth_formulas_agree_with_counts(length):
    for growth in (
        Growth("tokens"),
        Growth("window", 77),
        Growth("chunks", 3),
        Growth("chunks", 3, cap=5),
        Growth("chunks", 4, offset=9, cap=8),
    ):
        text = (
            growth.formula.replace("⌊", "math.floor(")
            .replace("⌋", ")")
            .replace("(L − 9)₊", "max(L - 9, 0)")
            .replace(" / ", " // ")
        )
        assert eval(text, {"L": length, "min": min, "max": max, "math": math}) == growth.count(length)
    assert Growth("levels").count(length) == len(bin(length)) - 2


def test_bytes_round_up_and_scale_with_bits():
    state = Architecture("odd", (Term("recurrent", 1, 3, Growth("state")),)).at(1)
    assert (state.bytes(), state.bytes(4), state.bytes(32)) == (6, 2, 12)
    assert model("GPT-2 small").at(1024).gib() == pytest.approx(36 / 1024)
    jamba = model("Jamba-v0.1").at(1000)
    assert sum(jamba.bytes_by_kind().values()) == jamba.bytes() and set(jamba.bytes_by_kind()) == {
        "attention",
        "recurrent",
        "convolution",
    }
    for method in (state.bytes, state.bytes_by_kind):
        with pytest.raises(StateError, match="bits_per_entry"):
            method(0)


# --- published formulas against small implementations ------------------------------------------------------------------
def reachable(attends, length, horizon):
    """Keys j < length that some query i in [length, length + horizon) reads."""
    return sum(any(attends(i, j) for i in range(length, length + horizon)) for j in range(length))


@pytest.mark.parametrize("length", [64, 128, 256])
def test_sparse_patterns_by_brute_force(length):
    stride, summary, window, first = 16, 4, 16, 6
    patterns = {
        "strided": (lambda i, j: i - j < stride or (i - j) % stride == 0, formulas.strided(1, 1)),
        "local": (lambda i, j: i - j < window or j < first, formulas.local_and_global(1, 1, window, first)),
    }
    for attends, terms in patterns.values():
        assert 2 * reachable(attends, length, 2 * stride) == sum(term.elements(length) for term in terms)
    # Fixed: the formula is the largest state since the last block began; it is reached just before a block ends.
    fixed = formulas.fixed(1, 1, stride, summary)

    def attends(i, j):
        return i // stride == j // stride or j % stride >= stride - summary

    for tokens in (length, length + stride - 1):
        kept = 2 * (sum(attends(tokens + 10 * stride, j) for j in range(tokens // stride * stride)) + tokens % stride)
        bound = sum(term.elements(tokens) for term in fixed)
        assert kept <= bound
        assert (kept == bound) == (tokens % stride == stride - 1)


def test_transformer_xl_and_compressive_memories_by_simulation():
    memory, compressed, rate = 8, 5, 3
    for cap in (compressed, None):
        recent, old, packed = [], [], 0
        for token in range(1, 101):
            recent.append(token)
            if len(recent) > memory:
                old.append(recent.pop(0))
            if len(old) == rate:
                old, packed = [], packed + 1
                if cap is not None:
                    packed = min(packed, cap)
            count = sum(term.elements(token) for term in formulas.compressive(1, 1, memory, cap, rate))
            assert count == len(recent) + packed
            assert formulas.transformer_xl(1, 1, memory)[0].elements(token) == len(recent)


def test_log_linear_levels_are_those_of_a_binary_counter():
    levels, most = {}, 0
    for token in range(1, 300):
        level = 0
        while levels.pop(level, False):  # two buckets of one size merge into the next
            level += 1
        levels[level] = True
        most = max(most, max(levels) + 1)
        assert formulas.log_linear(1, 1, 1, 1)[0].elements(token) == most


def test_recurrent_layers_of_torch():
    table = {row.architecture.name: row.architecture for row in published()}
    for name, kind in (("LSTM", torch.nn.LSTM), ("GRU", torch.nn.GRU)):
        with torch.no_grad():
            _, state = kind(8, 8, num_layers=3, batch_first=True)(torch.zeros(1, 5, 8))
        tensors = state if isinstance(state, tuple) else (state,)
        stored = sum(t.numel() for t in tensors)
        (term,) = table[name].terms
        assert stored * formulas.LAYERS * formulas.MODEL_WIDTH == term.elements(5) * 3 * 8


def test_inner_models_of_test_time_training():
    for hidden in (None, 24):
        layers = [torch.nn.Linear(6, 6)] if hidden is None else [torch.nn.Linear(6, hidden), torch.nn.Linear(hidden, 6)]
        numbers = sum(p.numel() for layer in layers for p in layer.parameters())
        assert formulas.test_time_training(2, 5, 6, hidden)[0].elements(9) == 2 * 5 * numbers


class WrittenMamba3:
    """Mamba-3 in ten lines from its recurrence: decay, last and current input, turning keys; ``cache`` is all that it keeps."""

    def __init__(self, heads=2, head=3, entries=8, seed=0):
        make = torch.Generator().manual_seed(seed)
        self.sizes, self.inputs = (
            (heads, head, entries),
            torch.randn(30, heads, head + 2 * entries + 3, generator=make).double(),
        )
        self.turns = torch.rand(30, heads, entries // 4, generator=make).double()  # half of the entries turn, in pairs
        self.cache = [torch.zeros(heads, head, entries), torch.zeros(heads, entries), torch.zeros(heads, head)]
        self.cache = [part.double() for part in (*self.cache, torch.zeros(heads, entries // 4))]

    def turn(self, keys, angles):
        first, second, rest = (
            keys[:, : angles.shape[1]],
            keys[:, angles.shape[1] : 2 * angles.shape[1]],
            keys[:, 2 * angles.shape[1] :],
        )
        return torch.cat(
            [first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos(), rest], 1
        )

    def step(self, t):
        state, key, value, angle = self.cache
        _, head, entries = self.sizes
        v, k, q, gates = self.inputs[t].split([head, entries, entries, 3], dim=1)
        decay, before, now = torch.sigmoid(gates)[:, :, None, None].unbind(1)
        angle = angle + self.turns[t]
        k, q = self.turn(k, angle), self.turn(q, angle)
        state = decay * (state + before * value[:, :, None] * key[:, None]) + now * v[:, :, None] * k[:, None]
        self.cache = [state, k, v, angle]
        return (state * q[:, None]).sum(-1)


def test_mamba3_by_a_written_out_cache():
    model = WrittenMamba3()
    for t in range(12):
        model.step(t)
    heads, head, entries = model.sizes
    declared = sum(term.elements(12) for term in formulas.mamba3(1, heads, head, entries))
    assert sum(part.numel() for part in model.cache) == declared
    kept = [part.clone() for part in model.cache]
    whole = [model.step(t) for t in range(12, 15)]

    fresh = WrittenMamba3()  # a model that has read nothing goes on from the cache alone
    fresh.cache = [part.clone() for part in kept]
    assert all(torch.equal(fresh.step(t), y) for t, y in zip(range(12, 15), whole, strict=True))
    for place in range(4):  # and every part of it is needed
        fresh.cache = [part.clone() + (0.5 if i == place else 0.0) for i, part in enumerate(kept)]
        assert not torch.allclose(torch.stack([fresh.step(t) for t in range(12, 15)]), torch.stack(whole))


def test_memory_caching_by_a_written_out_cache():
    """Checkpoints of a linear recurrence: sums of outer products of each segment, and the running one."""
    heads, key, value, segment = 2, 3, 4, 8
    tokens = torch.randn(45, heads, key + value, generator=torch.Generator().manual_seed(0)).double()
    cached, running = [], torch.zeros(heads, value, key).double()
    for t in range(45):
        k, v = tokens[t].split([key, value], dim=1)
        running = running + v[:, :, None] * k[:, None]
        if (t + 1) % segment == 0:
            cached, running = [*cached, running], torch.zeros_like(running)
        stored = sum(part.numel() for part in (*cached, running))
        assert stored == sum(term.elements(t + 1) for term in formulas.memory_caching(1, heads, key, value, segment))
    everything = torch.einsum("thv,thk->hvk", tokens[..., key:], tokens[..., :key])
    assert torch.allclose(sum(cached) + running, everything)  # what is kept is the text's, cut into segments
    assert formulas.memory_caching(1, heads, key, value, segment)[0].growth.exponent == 1


def test_hierarchical_chunks_by_a_written_out_cache():
    """Two outer layers, three inner ones; every sixth byte ends a chunk."""
    outer, width, entries, inner, inner_width = 2, 4, 5, 3, 6
    for read in (1, 5, 6, 50):
        cache = [torch.zeros(2 * width, entries) for _ in range(outer)]
        cache += [torch.zeros(min(read, 3), 2 * width + 2 * entries) for _ in range(outer)]
        cache += [torch.zeros(2, read // 6, inner_width) for _ in range(inner)] + [
            torch.zeros(width),
            torch.zeros(width),
        ]
        terms = formulas.hierarchical_chunks(outer, width, entries, inner, inner_width, 6)
        assert sum(part.numel() for part in cache) == sum(term.elements(read) for term in terms)


def test_the_verdict_of_a_square_root_depends_on_the_exponent():
    """√L passes if and only if β ≤ ½; a large state that does not grow fails all the same."""
    table = {row.architecture.name: row.architecture for row in published()}
    root = table["Generalized linear mixing, √L"]
    assert root.growth == "L^0.5"
    for beta, passes in ((0.3, True), (0.5, True), (0.51, False), (0.76, False)):
        assert l2m_condition(root, law=TextLaw(beta, 1.0, "test")).grows == passes
    sparse = table["Sparse Delta Memory"]
    assert sparse.at(10**6).elements == sparse.at(10).elements == 8 * 10**9
    assert not l2m_condition(sparse).grows
    assert table["Gated DeltaNet-2"].at(5).elements == formulas.LAYERS * 16 * 128 * 128


# --- reading configs ---------------------------------------------------------------------------------------------------
def test_path_and_object_and_architecture_agree(tmp_path):
    config = config_of("Gemma-2-9B")
    config.save_pretrained(tmp_path)
    expected = model("Gemma-2-9B").at(9000)
    assert history_state(str(tmp_path), 9000).elements == history_state(tmp_path, 9000).elements == expected.elements
    assert history_state(expected.architecture, 9000) == expected


def test_multimodal_wrappers_use_their_text_part():
    text = config_of("Gemma-3-4B")
    wrapper = transformers.Gemma3Config(text_config=text.to_dict())
    assert history_state(wrapper, 5000).elements == history_state(text, 5000).elements
    llava = transformers.LlavaConfig(text_config=config_of("Llama-2-7B").to_dict())
    assert history_state(llava, 77).elements == model("Llama-2-7B").at(77).elements


def test_window_longer_than_the_text_counts_the_text():
    config = transformers.MistralConfig(sliding_window=4096, num_hidden_layers=2)
    assert (
        history_state(config, 100).elements
        == history_state(transformers.MistralConfig(sliding_window=None, num_hidden_layers=2), 100).elements
    )


@pytest.mark.parametrize("length", [0, -3, 1.5, "many", None, float("nan"), float("inf")])
def test_bad_lengths(length):
    with pytest.raises(StateError, match="length .* expected a whole number of tokens"):
        history_state(config_of("GPT-2 small"), length)


def test_encoder_decoder_and_unknown_types_are_refused():
    with pytest.raises(StateError, match="encoder–decoder"):
        history_state(transformers.T5Config(), 10)
    with pytest.raises(StateError, match="'bert' has no reader"):
        history_state(transformers.BertConfig(), 10)
    with pytest.raises(StateError, match="cross|no reader"):
        history_state(transformers.MllamaConfig(), 10)
    with pytest.raises(StateError, match="expected a config of transformers"):
        history_state({"model_type": "gpt2"}, 10)


def test_missing_values_are_named(tmp_path):
    config = transformers.Gemma2Config(num_hidden_layers=2, sliding_window=None)
    config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(StateError, match="no sliding_window"):
        history_state(config, 10)
    config.sliding_window = 1
    with pytest.raises(StateError, match="window holds at least 2"):
        history_state(config, 10)
    config = transformers.LlamaConfig(num_hidden_layers=2)
    config.layer_types = ["full_attention", "indexed_attention"]
    with pytest.raises(StateError, match="layer type 'indexed_attention' is not counted"):
        history_state(config, 10)
    config.layer_types = ["full_attention"]
    with pytest.raises(StateError, match="1 layer types for 2 layers"):
        history_state(config, 10)
    with pytest.raises(StateError, match="no state_size or mamba_d_state"):
        history_state(SimpleNamespace(model_type="mamba", num_hidden_layers=2, intermediate_size=8), 10)
    with pytest.raises(StateError, match="no config could be read"):
        history_state(str(tmp_path / "nothing"), 10)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(StateError, match="no config could be read"):
        history_state(tmp_path, 10)
    with pytest.raises(StateError, match="no model 'Lama'"):
        config_of("Lama")


def test_terms_refuse_nonsense():
    with pytest.raises(StateError, match="kind 'magic'"):
        Term("magic", 1, 1, Growth("state"))
    with pytest.raises(StateError, match="expected positive whole numbers"):
        Term("memory", 0, 1, Growth("state"))
    with pytest.raises(StateError, match="growth law 'cubic'"):
        Growth("cubic")
    with pytest.raises(StateError, match="positive size"):
        Growth("window", 0)
    with pytest.raises(StateError, match="no term"):
        Architecture("empty", ())


# --- the atlas ---------------------------------------------------------------------------------------------------------
def test_atlas_rows_and_text():
    table = atlas()
    assert list(table.architecture) == [one.name for one in architectures()]
    assert (abs(table.exponent - [one.exponent for one in architectures()]) < 0.07).all()  # log-linear: 0.05, not 0
    text = plain_text(table)
    assert len(text.splitlines()) == len(table) + 1
    llama = next(line for line in text.splitlines() if line.startswith("Llama-3.1-405B"))
    assert "258G" in llama and "satisfied for all L" in llama
    assert {family(one) for one in architectures()} == {
        "full attention",
        "latent attention",
        "window only",
        "linear attention",
        "state space / recurrent",
        "memory",
        "hybrid",
    }
    assert short(0) == "0" and short(1e18) == ">10¹⁵"


def test_command_prints_the_atlas_and_one_model(tmp_path, capsys):
    from l2m_utils.cli.main import main

    config_of("GPT-2 small").save_pretrained(tmp_path)
    assert main(["state", "--no-verify"]) == 0
    printed = capsys.readouterr().out
    assert "Mamba-2.8B" in printed and f"{kinds_counted()} architectures counted" in printed
    assert main(["state", str(tmp_path)]) == 0
    assert "12 × 1,536 × L" in capsys.readouterr().out
    assert main(["state", "--beta", "2"]) == 2
    assert "0 < β < 1" in capsys.readouterr().err
    assert main(["state", str(tmp_path / "absent")]) == 2


def test_the_numbers_of_the_interactive_figure_are_whole_and_local():
    from l2m_utils.state.condition import PUBLISHED_LAW
    from l2m_utils.state.interactive import CURVE_LENGTHS, embedded, payload

    rows = architectures()
    colours = {family(one): "#123456" for one in rows}
    text = embedded(rows, PUBLISHED_LAW, colours, bits=0.1)
    assert "<script" not in text and "http" not in text
    data = json.loads(html.unescape(text.split('data-values="')[1].split('"')[0]))
    assert [m["name"] for m in data["models"]] == [one.name for one in rows]
    assert data["models"][0]["z"] == [HistoryState(rows[0], int(n) // 2).elements for n in CURVE_LENGTHS]
    assert (data["beta"], data["prefactor"], data["bits"]) == (PUBLISHED_LAW.exponent, PUBLISHED_LAW.prefactor, 0.1)
    with pytest.raises(StateError, match="no colour"):
        embedded(rows, PUBLISHED_LAW, {})
    with pytest.raises(StateError, match="at least one"):
        payload([], PUBLISHED_LAW)


def test_the_catalogue_is_its_own_architecture():
    assert architecture_of(model("GPT-2 small")) is model("GPT-2 small")


def test_reach_is_a_float_however_far_it_lies(tmp_path):
    """A slow law, as a weak model measures it, puts some L* beyond 64-bit integers; the table must still be writable."""
    table = atlas(TextLaw(0.3, 1.8, "weak model"), bits_per_entry=16)
    assert table.reach.dtype == float and (table.reach[np.isfinite(table.reach)] > 2**63).any()
    table.to_parquet(tmp_path / "atlas.parquet")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["llama", "mistral", "gpt2", "mamba", "mamba2", "jamba", "falcon", "qwen3_next"]),
    draw=st.randoms(use_true_random=False),
    value=st.sampled_from([None, True, -1, 0, 1, 0.5, 10**12, 10**40, "", "eight", [], {}, ["x"] * 9, "\ud800"]),
)
def test_a_damaged_config_is_counted_or_refused(tmp_path_factory, kind, draw, value):
    """Any one value of a config.json replaced by anything: a count of whole numbers, or one line."""
    folder = tmp_path_factory.mktemp("config")
    known = transformers.AutoConfig.for_model(kind).to_dict() | {"model_type": kind}
    key = draw.choice(sorted(known))
    (folder / "config.json").write_text(json.dumps(known | {key: value}))
    try:
        assert isinstance(history_state(folder, 100).elements, int)
    except StateError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


def test_a_config_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(StateError, match="is no regular file"):
        history_state(tmp_path, 10)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(StateError, match="no config could be read .*; give a hub name"):
        history_state(tmp_path, 10)
