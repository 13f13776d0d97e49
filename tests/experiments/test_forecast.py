"""The forecast of memory, time and money: known counts of weights, and the runs that were measured."""

import json

import pandas as pd
import pytest
import yaml
from transformers import AutoConfig, GPT2Config, LlamaConfig, Qwen3Config

from l2m_utils.estimators.evaluations import plan
from l2m_utils.experiments.cards import CARDS, GIB, Card
from l2m_utils.experiments.forecast import WITHIN, Engine, engine_of, forecast, weigh
from l2m_utils.experiments.gpu import ruler
from l2m_utils.experiments.paper_grid import GRID
from l2m_utils.project import PROJECT

LLAMA_405B, DEEPSEEK_V3 = (
    AutoConfig.for_model(**yaml.safe_load(GRID.read_text())["measure"]["models"][name]["config"])
    for name in ("llama-3.1-405b", "deepseek-v3")
)
SMOLLM2 = LlamaConfig(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    vocab_size=49152,
    tie_word_embeddings=True,
)
GPU = PROJECT / "results/gpu-books/models/gpu/tables"
ON_H100 = Engine(CARDS["h100"], "float32", ruler.BATCH_TOKENS, tuple(ruler.CHUNKS.values()))


def test_weights_are_those_that_the_makers_print():
    llama = weigh(LLAMA_405B)
    assert llama.total == 405_853_388_800 and llama.head == 16384 * 128256
    assert llama.active == llama.total - llama.head  # all but the embeddings, which are looked up
    small = weigh(SMOLLM2)
    assert small.total == small.active == 134_515_008  # tied: the one matrix is looked up and multiplied
    deepseek = weigh(DEEPSEEK_V3)
    assert round(deepseek.total / 1e9) == 671 and 36 < deepseek.active / 1e9 < 38  # "671B total, 37B activated"
    dense = weigh(
        Qwen3Config(
            num_hidden_layers=36,
            tie_word_embeddings=False,
            hidden_size=4096,
            intermediate_size=12288,
            num_key_value_heads=8,
        )
    )
    assert round(dense.total / 1e9, 1) == 8.2  # Qwen3-8B: its class defaults


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_time_on_an_h100_is_within_the_stated_factor(dtype):
    cells = pd.read_parquet(GPU / "ruler-cells.parquet")
    short = cells[cells["cell"].str.startswith(f"short-{dtype}-")]
    wanted = plan(1024)
    assert (short["tokens"] == short["blocks"] * wanted.evaluations).all() and len(short) >= 2
    engine = Engine(**{**ON_H100.__dict__, "dtype": dtype})
    found = forecast(SMOLLM2, engine, wanted, int(short["blocks"].sum()))
    assert found.tokens == short["tokens"].sum()
    assert 1 / WITHIN < found.seconds / short["seconds"].sum() < WITHIN


def test_memory_on_an_h100_is_within_the_stated_factor():
    (measured,) = pd.read_parquet(GPU / "ruler-peak-bytes.parquet")["value"]
    found = forecast(SMOLLM2, ON_H100, plan(8192), 1)
    assert 1 / WITHIN < found.memory / measured < WITHIN


def test_memory_of_the_benchmark_is_within_the_stated_factor():
    rows = json.loads((PROJECT / "benchmarks/report.json").read_text())
    (row,) = [row for row in rows if row["name"] == "scorer peak memory"]
    assert "2,048 tokens × 50,257 ids, GPT-2 of two layers and width 128, float32" in row["note"]
    here = Card("a processor", 16e9, {"float32": 1e11, "bfloat16": 1e11}, 1e10, 1e10)
    config = GPT2Config(n_layer=2, n_embd=128, n_head=4)
    found = forecast(config, engine_of(config, "transformers", here), plan(2048), 1)
    above = found.memory - found.parts["weights"]  # "above the loaded model"
    above += 2048 * 128 * 4 - found.parts["activations"] * (1 - 2048 / found.engine.batch)  # one sequence, not a batch
    assert 1 / WITHIN < above / 2**20 / row["ours"] < WITHIN


def test_parallel_plans_share_weights_and_time_and_say_what_does_not_fit():
    wanted = plan(2048)
    eight = forecast(
        LLAMA_405B, engine_of(LLAMA_405B, "vllm", CARDS["h100"], quantization="fp8", tensor=8), wanted, 1000
    )
    assert eight.fits and 47 < eight.parts["weights"] / GIB < 49
    assert not forecast(
        LLAMA_405B, engine_of(LLAMA_405B, "vllm", CARDS["h100"], dtype="bfloat16", tensor=8), wanted, 1
    ).fits
    two = forecast(
        LLAMA_405B, engine_of(LLAMA_405B, "vllm", CARDS["h100"], quantization="fp8", tensor=8, pipeline=2), wanted, 1000
    )
    assert two.engine.cards == 16 and two.parts["weights"] * 2 == pytest.approx(eight.parts["weights"])
    assert two.seconds * 2 == pytest.approx(eight.seconds) and two.card_hours == pytest.approx(eight.card_hours)
    assert eight.tokens == 1000 * wanted.evaluations
    text = eight.text(2.5)
    assert f"about {eight.card_hours * 2.5:,.2f}" in text and "fits" in text and "8 × H100 80 GB" in text
    assert (
        "NOT"
        in forecast(LLAMA_405B, engine_of(LLAMA_405B, "vllm", CARDS["rtx4090"], quantization="fp8"), wanted, 1).text()
    )


def test_a_number_format_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="dtype 'int3'"):
        engine_of(LLAMA_405B, "vllm", CARDS["h100"], dtype="int3")
    four_bits = LlamaConfig(quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(ValueError, match="quantised as 'awq': a forecast knows fp8"):
        engine_of(four_bits, "vllm", CARDS["h100"])
