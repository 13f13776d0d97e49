"""A model is whole or refused: every way in which files, index and configuration can disagree, each in one line that names the weight or file."""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from l2m_utils.project import PROJECT
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.folder import INDEX, SINGLE, check_files, check_weights, read_shapes
from l2m_utils.scoring.loading import check_format, load_causal_model, load_tokenizer
from l2m_utils.scoring.transformers import weights_fingerprint

SIZES = dict(vocab_size=40, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
SIZES |= dict(max_position_embeddings=32, bos_token_id=0, eos_token_id=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("models") / "whole"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES)).save_pretrained(home)
    return home


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def change(folder, weights=lambda found: found, **settings):
    save_file(weights(load_file(folder / SINGLE)), folder / SINGLE, metadata={"format": "pt"})
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | settings))


def refused(folder, message):
    with pytest.raises(ScoringError, match=message) as caught:
        load_causal_model(str(folder))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def without(*names):
    return lambda found: {key: value for key, value in found.items() if key not in names}


NAMES = ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"] + [
    f"model.layers.{layer}.{part}.weight"
    for layer in (0, 1)
    for part in ("input_layernorm", "mlp.gate_proj", "self_attn.q_proj", "self_attn.o_proj")
]


@settings(max_examples=3, deadline=None, derandomize=True)
@given(lost=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), renamed=st.booleans())
def test_any_weight_that_is_lacking_or_named_otherwise_is_named(whole, tmp_path_factory, lost, renamed):
    folder = tmp_path_factory.mktemp("spoiled") / "model"
    shutil.copytree(whole, folder)

    def spoil(found):
        return {
            f"my_{key}" if key in lost else key: value for key, value in found.items() if renamed or key not in lost
        }

    change(folder, spoil)
    shown = sorted(lost)[:3]
    refused(
        folder,
        rf"{re.escape(shown[0])}.* missing in its files"
        if len(lost) < 4
        else rf"4 weights \({re.escape(shown[0])}, .*…\) are missing",
    )


def test_a_whole_model_is_loaded_as_it_is(whole, tmp_path):
    model = load_causal_model(str(whole), dtype="float32")
    assert weights_fingerprint(model) == weights_fingerprint(hf.AutoModelForCausalLM.from_pretrained(whole))
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert weights_fingerprint(load_causal_model(str(tmp_path))) == weights_fingerprint(model)
    assert check_weights(tmp_path).numbers == check_weights(whole).numbers == sum(p.numel() for p in model.parameters())


def test_tied_weights_are_not_missing(folder):
    change(folder, without("lm_head.weight"), tie_word_embeddings=True)
    model = load_causal_model(str(folder))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    change(folder, without("model.embed_tokens.weight"))
    refused(folder, "embed_tokens.weight")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hidden_layers": 3}, r"9 weights \(model\.layers\.2\..*missing"),
        ({"num_hidden_layers": 1}, r"9 weights \(model\.layers\.1\..*not in the network of config.json"),
        ({"hidden_size": 16}, r"of another shape \(lm_head\.weight is \(40, 8\) there and \(40, 16\) by config.json\)"),
        ({"vocab_size": 64}, r"lm_head\.weight, model\.embed_tokens\.weight are of another shape"),
        ({"attention_bias": True}, "self_attn.k_proj.bias.* missing"),
        ({"num_hidden_layers": 10**9}, "describes 1,000,000,000 layers"),
        ({"intermediate_size": 10**9}, "describes a network of .* numbers, the files hold"),
        ({"layer_types": ["full_attention"] * 5}, "describes no network that transformers can make"),
        ({"hidden_size": "eight"}, "describes no network that transformers can make"),
        ({"model_type": "no-such-model"}, "describes no network that transformers can make"),
        ({"model_type": "t5"}, "describes no network that transformers can make .*AutoModelForCausalLM"),
    ],
)
def test_a_configuration_of_another_network(folder, settings, message):
    change(folder, **settings)
    refused(folder, message)


@pytest.mark.parametrize(
    "extra", ["self_attn.q_proj.bias", "self_attn.q_proj.lora_A.weight", "self_attn.q_norm.weight"]
)
def test_what_a_layer_holds_beyond_its_network_is_not_left_out_in_silence(folder, extra):
    change(folder, lambda found: found | {f"model.layers.0.{extra}": torch.ones(8)})
    refused(folder, f"{re.escape(extra)} is in its files, but not in the network")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int32, torch.bool])
def test_packed_numbers_without_their_rule_are_refused(folder, kind):
    change(folder, lambda found: {key: value.to(kind) if key in NAMES[:2] else value for key, value in found.items()})
    refused(folder, r"the weights lm_head\.weight, model\.embed_tokens\.weight are stored in whole numbers")


def test_parts_that_text_does_not_need_are_only_mentioned(folder):
    change(folder, lambda found: found | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)})
    load_causal_model(str(folder))
    change(folder, lambda found: found | {"vision_tower.layers.0.mlp.weight": torch.ones(2)})
    with pytest.warns(UserWarning, match="vision_tower.layers.0.mlp.weight is in its files and not used"):
        load_causal_model(str(folder))


def test_shards(whole, tmp_path):
    load_causal_model(str(whole)).save_pretrained(tmp_path, max_shard_size="4KB")
    index = json.loads((tmp_path / INDEX).read_text())
    shards = sorted(set(index["weight_map"].values()))

    def indexed(**places):
        (tmp_path / INDEX).write_text(json.dumps(index | {"weight_map": index["weight_map"] | places}))

    other = next(shard for shard in shards if shard != index["weight_map"]["model.norm.weight"])
    indexed(**{"model.norm.weight": other})
    refused(tmp_path, f"{INDEX} puts model.norm.weight into {other}, which does not hold them")
    for place in ("../whole/model.safetensors", "/etc/passwd", "..", 5, "a\\b.safetensors"):
        indexed(**{"model.norm.weight": place})
        refused(tmp_path, "expected the name of a .safetensors file in the same folder")
    indexed()
    (tmp_path / shards[1]).unlink()
    refused(tmp_path, f"lacks {shards[1]} of {len(shards)} weight files")
    for damage, message in (("[]", "holds a JSON list"), ("{}", "no weight_map"), ("[" * 10**5, "nested too deeply")):
        (tmp_path / INDEX).write_text(damage)
        refused(tmp_path, message)
    shutil.copy(whole / SINGLE, tmp_path / SINGLE)
    indexed()
    refused(tmp_path, "and an index of other files")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "git lfs pull"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "page of HTML"),
        (b"1234", "truncated or damaged"),
        (struct.pack("<Q", 1 << 60) + b"{}", "claims a header"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "no JSON"),
        (struct.pack("<Q", 2) + b"{}", "holds no tensor"),
        (struct.pack("<Q", 2) + b"[]", "no JSON object"),
    ],
)
def test_a_file_that_is_no_weights_file(folder, content, message):
    (folder / SINGLE).write_bytes(content)
    refused(folder, message)


def header(**entries) -> bytes:
    content = json.dumps(entries).encode()
    return struct.pack("<Q", len(content)) + content + bytes(32)


ONE = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}


@pytest.mark.parametrize(
    "entry",
    [
        {"data_offsets": [0, 64]},
        {"data_offsets": [32, 0]},
        {"data_offsets": [-32, 0]},
        {"data_offsets": [4, 36]},
        {"data_offsets": [0.0, 32.0]},
        {"data_offsets": None},
        {"shape": [1 << 61, 1 << 61]},
        {"shape": [-8]},
        {"shape": [True] * 8},
        {"shape": "8"},
        {"shape": [1] * 40 + [8]},
        {"dtype": "F31"},
        {"dtype": ["F32"]},
    ],
)
def test_headers_that_contradict_themselves(tmp_path, entry):
    (tmp_path / SINGLE).write_bytes(header(a=ONE))
    assert read_shapes(tmp_path / SINGLE) == {"a": (8,)}
    (tmp_path / SINGLE).write_bytes(header(a=ONE | entry))
    with pytest.raises(ScoringError, match="truncated or damaged"):
        read_shapes(tmp_path / SINGLE)


def test_tensors_that_share_bytes(tmp_path):
    (tmp_path / SINGLE).write_bytes(header(a=ONE, b=ONE | {"shape": [4], "data_offsets": [0, 16]}))
    with pytest.raises(ScoringError, match="overlap or leave a gap"):
        read_shapes(tmp_path / SINGLE)


def test_a_file_cut_at_any_place_is_refused(whole, folder):
    content = (whole / SINGLE).read_bytes()
    for at in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        (folder / SINGLE).write_bytes(content[:at])
        with pytest.raises(ScoringError, match="empty|truncated or damaged"):
            check_weights(folder)
    (folder / SINGLE).write_bytes(content + b"x")
    with pytest.raises(ScoringError, match="its tensors end at byte"):
        check_weights(folder)


def test_other_formats_have_a_word_on_conversion(folder):
    (folder / SINGLE).rename(folder / "pytorch_model.bin")
    refused(folder, r"pytorch_model\.bin, a format that can run code.*from_pretrained\(FOLDER\)\.save_pretrained")
    (folder / "pytorch_model.bin").rename(folder / "model.gguf")
    refused(folder, r"give one of them as the model, .*model\.gguf")
    (folder / "model.gguf").rename(folder / "consolidated.safetensors")
    refused(folder, "but consolidated.safetensors: expected the names that save_pretrained writes")
    (folder / "consolidated.safetensors").unlink()
    refused(folder, "holds no weights")
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "half a model: merge it")


def test_what_is_no_regular_file_is_not_opened(folder):
    import os

    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(folder, "is no regular file")
    with pytest.raises(ScoringError, match="is no regular file"):
        load_tokenizer(str(folder))
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/nowhere")
    with pytest.raises(ScoringError, match="cannot be read"):
        check_files(folder)


TOKENIZERS = {
    "nested": "[" * 100_000,
    "empty": "{}",
    "types": '{"version": 1, "model": 7}',
    "no model": '{"version": "1.0", "model": {"type": "none"}}',
    "ids": '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
    "huge id": '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 99999999999999}, "merges": []}}',
    "merges": '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}',
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_damaged_tokenizers_have_one_line(folder, name):
    (folder / "tokenizer.json").write_text(TOKENIZERS[name])
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ScoringError, match="tokenizer") as caught:
        load_tokenizer(str(folder))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_setting_of_the_wrong_type_is_met_at_once(folder):
    from model_folders import whole

    whole(folder)
    assert load_tokenizer(str(folder))("a")["input_ids"]
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": "many"}))
    with pytest.raises(ScoringError, match="no tokenizer can be read .*TypeError"):
        load_tokenizer(str(folder))


def test_code_of_a_model_never_runs(folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(mark)!r}, 'w')\nclass Mine: pass\n")
    change(folder, auto_map={"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"}, model_type="mine")
    refused(folder, "describes no network that transformers can make")
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}}))
    with pytest.raises(ScoringError, match="no tokenizer can be read"):
        load_tokenizer(str(folder))
    change(folder, model_type="llama")
    load_causal_model(str(folder))  # what transformers knows by itself is loaded by its own code
    assert not mark.exists()


def test_number_formats_and_devices():
    assert [check_format(name) for name in ("auto", "bfloat16", torch.float32)] == ["auto", "bfloat16", torch.float32]
    for name, meant in (("bf16", "bfloat16"), ("FP16", "float16"), ("fp32", "float32"), ("int8", None)):
        with pytest.raises(
            ScoringError, match=f"did you mean '{meant}'" if meant else "expected one of auto, float32, bfloat16"
        ):
            check_format(name)
    if not torch.cuda.is_available():
        for place in ("cuda", "cuda:1", {"": "cuda:0"}):
            with pytest.raises(ScoringError, match="this machine has 0 usable GPUs"):
                load_causal_model("somewhere", device_map=place)


def test_every_model_comes_through_the_one_loader():
    """A model that is loaded elsewhere would be filled with random numbers in silence again."""

    def loads_a_model(node) -> bool:
        called = node.func if isinstance(node, ast.Call) else None
        if not isinstance(called, ast.Attribute) or called.attr != "from_pretrained":
            return False
        return (
            "Tokenizer" not in (owner := ast.unparse(called.value))
            and "Config" not in owner
            and owner != "TransformersScorer"
        )

    texts = {path.name: path.read_text() for path in (PROJECT / "l2m_utils").rglob("*.py")}
    trees = {name: ast.parse(text) for name, text in texts.items() if "from_pretrained" in text}
    found = {name for name, tree in trees.items() if any(map(loads_a_model, ast.walk(tree)))}
    assert found == {"loading.py", "gguf_model.py"}
    assert "check_loaded(" in (PROJECT / "l2m_utils" / "scoring" / "gguf_model.py").read_text()


def test_no_damaged_folder_gets_through():
    """The part of ``make attack`` that every run of the tests has."""
    import model_folders

    rows = model_folders.attack(20, seed=4)
    assert sum(row["tried"] for row in rows) == 20
    assert [(row["kind"], row["note"]) for row in rows if row["lost"]] == []


def test_the_attack_can_lose(monkeypatch):
    """Without the question to the loader, a weight under another name is a random one, and is found out."""
    import model_folders

    monkeypatch.setattr("l2m_utils.scoring.loading.check_loaded", lambda *arguments: None)
    monkeypatch.setattr(model_folders, "damage_json", lambda path, rng: path.name)
    monkeypatch.setattr(model_folders, "damage_files", lambda folder, rng, mark: "nothing")

    def rename(path, rng):
        save_file({f"x{key}": value for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
        return "renamed"

    monkeypatch.setattr(model_folders, "damage_weights", rename)
    rows = {row["kind"]: row["note"] for row in model_folders.attack(2, seed=0)}
    assert rows == {**dict.fromkeys(rows, ""), "model folder: weights": "renamed: random scores"}
