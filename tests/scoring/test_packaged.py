"""Models from a wheel and from GGUF files: read exactly, refused in one line, nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'l2m-book[gguf]'")
import tiny_gguf

from l2m_utils.cli.main import main
from l2m_utils.scoring import packaged
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.connect import connect, read_tokenizer
from l2m_utils.scoring.gguf_file import read_header

VOCABULARY = 290


@pytest.fixture(scope="module")
def model():
    return tiny_gguf.tiny_model(VOCABULARY)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own, also for `connect`."""
    home = tmp_path / "rulers"
    monkeypatch.setattr(packaged, "RULERS", home)
    for door in (packaged.ruler, packaged.known):
        monkeypatch.setattr(door, "__defaults__", (home,))
    return home


def left(cache: Path) -> list[str]:
    """What lies in the cache besides the lock."""
    return sorted(path.name for path in cache.iterdir() if path.name != "lock") if cache.exists() else []


def test_scores_of_a_file_are_those_of_the_model_it_was_made_from(model, file, cache):
    scorer = connect("transformers", str(file), max_length=64)
    tokenizer = read_tokenizer(str(file))
    ids = tokenizer(tiny_gguf.TEXT, add_special_tokens=False)["input_ids"][:40]
    assert tokenizer.decode(ids) == tiny_gguf.TEXT[: len(tokenizer.decode(ids))]
    with torch.inference_mode():
        logits = model(torch.tensor([[0, *ids[:-1]]])).logits[0]
    expected = logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].numpy()
    np.testing.assert_allclose(scorer.score([ids])[0], expected, atol=2e-6)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (scorer.identity["model"], scorer.identity["revision"], scorer.prefix_id) == ("tiny-test-model", digest, 0)
    assert left(cache) == [digest[:24]]


def test_a_file_under_another_name_is_converted_once(file, cache, tmp_path, monkeypatch):
    first = packaged.ruler(str(file), cache)
    other = tmp_path / "other.gguf"
    other.write_bytes(file.read_bytes())
    monkeypatch.setattr(packaged, "_convert", None)  # would fail if it were called
    assert packaged.ruler(str(other), cache) == first


def test_a_damaged_conversion_is_made_again(file, cache):
    made = packaged.ruler(str(file), cache)
    (made.folder / "model.safetensors").write_bytes(b"half")
    assert packaged.ruler(str(file), cache) == made
    assert (made.folder / "model.safetensors").stat().st_size > 4


def test_the_command_state_takes_a_file_and_refuses_in_one_line(file, cache, capsys):
    assert main(["state", str(file)]) == 0
    assert "dim z = 2 × 32 × L" in capsys.readouterr().out
    for name, words in (("packaged:gpt-5", "no such packaged model"), ("nowhere.gguf", "cannot be read")):
        assert main(["state", name]) == 2
        error = capsys.readouterr().err
        assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_blocks_longer_than_the_context_are_refused(file, cache, capsys):
    with pytest.raises(ScoringError, match=f"blocks of 65 tokens are asked for, {file} reads 64"):
        connect("transformers", str(file), max_length=65)
    command = ["measure", "--model", str(file), "--corpus", "nowhere.jsonl", "--folder", "nowhere"]
    for more in ([], ["--dry-run", "--card", "h100"]):  # the first one has converted it
        assert main([*command, "--max-length", "128", *more]) == 1
        assert f"blocks of 128 tokens are asked for, {file} reads 64" in capsys.readouterr().err


def changed(file: Path, place: Path, change) -> Path:
    content = bytearray(file.read_bytes())
    place.write_bytes(change(content))
    return place


def put(content: bytearray, at: int, code: str, value) -> bytearray:
    struct.pack_into("<" + code, content, at, value)
    return content


BROKEN = {
    "empty": (lambda c: b"", "has 0 bytes"),
    "another kind of file": (lambda c: b"\x89PNG" + bytes(c[4:]), "begins with b'.x89PNG'"),
    "a version to come": (lambda c: put(c, 4, "I", 9), "version 9"),
    "half of it": (lambda c: c[: len(c) // 2], "truncated"),
    "one byte short": (lambda c: c[:-1], "truncated"),
    "cut in the metadata": (lambda c: c[:400], "bytes"),
    "2^60 tensors": (lambda c: put(c, 8, "Q", 2**60), "claims 1,152,921,504,606,846,976 tensors"),
    "2^40 metadata values": (lambda c: put(c, 16, "Q", 2**40), "metadata values"),
    "a key of 2^50 characters": (lambda c: put(c, 24, "Q", 2**50), "characters of a text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_refused_before_any_library_reads_it(name, file, cache, tmp_path):
    change, words = BROKEN[name]
    path = changed(file, tmp_path / "bad.gguf", change)
    with pytest.raises(ScoringError, match=words) as error:
        packaged.ruler(str(path), cache)
    assert "\n" not in str(error.value)
    assert left(cache) == []


def test_every_cut_is_refused(file, tmp_path):
    content = file.read_bytes()
    for size in np.linspace(0, len(content) - 1, 60).astype(int):
        (tmp_path / "cut.gguf").write_bytes(content[:size])
        with pytest.raises(ScoringError):
            read_header(tmp_path / "cut.gguf")


@pytest.fixture
def said():
    """What transformers logs meanwhile: a refusal is one line, so nothing."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    hf.logging.add_handler(handler)
    yield records
    hf.logging.remove_handler(handler)


ODD = {
    "another architecture": ({"architecture": "nosuchnet"}, "architecture 'nosuchnet' cannot be read"),
    "no embedding": ({"drop": "token_embd.weight"}, "no embedding"),
    "a matrix missing": ({"drop": "blk.1.ffn_up.weight"}, "describe a network of"),
    "a norm missing": ({"drop": "blk.1.attn_norm.weight"}, "missing in its files|of another shape"),
    "another tokenizer": ({"tokens": 280}, "280 tokens and its embedding 290"),
    "2^31 layers": ({"block_count": 2**31}, "block_count is 2147483648, expected a number from 1"),
    "a width of 2^30": ({"embedding_length": 2**30}, "embedding_length is 1073741824"),
    "an inner width of 2^30": ({"feed_forward_length": 2**30}, "describe a network of"),
    "another inner width": ({"feed_forward_length": 63}, "missing in its files|of another shape"),
    "said to be mamba": ({"architecture": "mamba"}, "18 weights .* are missing in its files"),
    "said to be qwen2": ({"architecture": "qwen2"}, "6 weights .* are missing in its files"),
    "a weight that is no number": (
        {"spoil": "blk.1.ffn_up.weight"},
        "the weight model.layers.1.mlp.up_proj.weight is not finite",
    ),
    "an embedding that is no number": ({"spoil": "token_embd.weight"}, "embed_tokens.weight.* not finite"),
    "no heads": ({"attention.head_count": 0}, "cannot be read by transformers"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_whole_file_that_contradicts_itself_is_refused(name, model, cache, tmp_path, said):
    change, words = ODD[name]
    path = tiny_gguf.write(tmp_path / "odd.gguf", model, **change)
    verbosity = hf.logging.get_verbosity()
    with pytest.raises(ScoringError, match=words) as error:
        packaged.ruler(str(path), cache)
    assert "\n" not in str(error.value) and said == []
    assert hf.logging.get_verbosity() == verbosity
    assert left(cache) == []


def test_names_that_mean_nothing(cache):
    with pytest.raises(ScoringError, match="no such packaged model; expected packaged:smollm2-135m"):
        packaged.ruler("packaged:gpt-5", cache)
    with pytest.raises(ScoringError, match="cannot be read"):
        packaged.ruler("nowhere/model.gguf", cache)


def test_a_full_disk(file, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packaged, "write_json", full)
    with pytest.raises(ScoringError, match="no space left .*nothing was left behind"):
        packaged.ruler(str(file), cache)
    assert left(cache) == []


@pytest.mark.parametrize("saved", [hf.LlamaForCausalLM, hf.PreTrainedTokenizerFast])
def test_a_full_disk_as_the_writers_in_rust_say_it(saved, file, cache, monkeypatch):
    def full(*_, **__):
        raise Exception("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(saved, "save_pretrained", full)
    with pytest.raises(ScoringError, match="no space left .*nothing was left behind"):
        packaged.ruler(str(file), cache)
    assert left(cache) == []


def test_a_disk_that_will_be_full_is_seen_before_the_work(file, cache, monkeypatch):
    monkeypatch.setattr(packaged.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ScoringError, match="GB in float32 are needed"):
        packaged.ruler(str(file), cache)
    assert left(cache) == []


# The wheel: an index that is a folder, as pip itself offers (PIP_NO_INDEX, PIP_FIND_LINKS).


@pytest.fixture
def index(file, tmp_path, monkeypatch):
    """A folder with the wheel of a tiny model, and the package that pins it."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tiny_ruler-1.0-py3-none-any.whl"
    info = "tiny_ruler-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "tiny_ruler/tiny.gguf")
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-ruler\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    package = packaged.Package(
        "tiny-ruler",
        "1.0",
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel.stat().st_size,
        "tiny_ruler/tiny.gguf",
        hashlib.sha256(file.read_bytes()).hexdigest(),
        file.stat().st_size,
        7,
    )
    monkeypatch.setitem(packaged.PACKAGES, "tiny", package)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return wheel


def repin(monkeypatch, **changes) -> None:
    monkeypatch.setitem(
        packaged.PACKAGES, "tiny", type(packaged.PACKAGES["tiny"])(**(vars(packaged.PACKAGES["tiny"]) | changes))
    )


def test_a_dry_run_fetches_and_converts_nothing(index, file, cache, capsys):
    words = ["measure", "--corpus", "nowhere.jsonl", "--folder", "nowhere", "--dry-run"]
    for options in (
        ["--model", "packaged:tiny"],
        ["--model", str(file)],
        ["--model", "served", "--backend", "server", "--tokenizer", "packaged:tiny"],
    ):
        name = options[-1]
        assert main([*words, *options]) == 1
        assert f"error: {name} is not converted yet" in (said := capsys.readouterr().err)
        assert f"run `l2m ruler {name}` first" in said and left(cache) == []
    assert packaged.known(str(file)) is None and packaged.ruler(str(file)) == packaged.known("packaged:tiny")
    assert main([*words, "--model", "packaged:tiny", "--max-length", "64"]) == 1
    assert "no such file or folder" in capsys.readouterr().err  # the corpus, which comes after the model


def test_a_packaged_model_is_fetched_once_and_has_its_prefix(index, file, cache):
    scorer = connect("transformers", "packaged:tiny")
    assert (scorer.prefix_id, scorer.identity["model"]) == (7, "tiny")
    assert scorer.identity["revision"].startswith("1.0-")
    index.unlink()
    assert (
        packaged.ruler("packaged:tiny", cache).folder == packaged.ruler(str(file), cache).folder
    )  # no second fetch, no second copy
    assert left(cache) == [hashlib.sha256(file.read_bytes()).hexdigest()[:24]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wheel_sha256": "0" * 64}, "another SHA-256 than the one pinned"),
        ({"wheel_bytes": 1}, "the wheel of tiny-ruler 1.0 has .* bytes, expected 1"),
        ({"sha256": "0" * 64}, "has SHA-256 .* it was changed"),
        ({"bytes": 5}, "expected 5: it is not used"),
        ({"member": "elsewhere.gguf"}, "holds no elsewhere.gguf"),
        ({"version": "2.0"}, "the index that pip is set to does not have it"),
    ],
)
def test_what_came_is_not_what_was_pinned(changes, words, index, cache, monkeypatch):
    repin(monkeypatch, **changes)
    monkeypatch.setattr(packaged, "read_header", lambda path: pytest.fail("a parser saw a file that was not checked"))
    with pytest.raises(ScoringError, match=words) as error:
        packaged.ruler("packaged:tiny", cache)
    assert "\n" not in str(error.value)
    assert left(cache) == []


def test_half_a_wheel(index, cache):
    index.write_bytes(index.read_bytes()[:5000])
    with pytest.raises(ScoringError, match="tiny-ruler 1.0 cannot be fetched from the package index"):
        packaged.ruler("packaged:tiny", cache)
    assert left(cache) == []


def test_offline_says_so_and_shows_no_address(index, cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ScoringError, match="there is no connection to it|does not have it") as error:
        packaged.ruler("packaged:tiny", cache)
    assert "secret" not in str(error.value) and "127.0.0.1" not in str(error.value)
    assert left(cache) == []


KILLED = """
import sys, time
from l2m_utils.scoring import packaged
real = packaged.convert
def slow(*words):
    print("converting", flush=True)
    time.sleep(float(sys.argv[3]))
    return real(*words)
packaged.convert = slow
print("asking", flush=True)
print(packaged.ruler(sys.argv[1], sys.argv[2]).folder, flush=True)
"""


def start(file: Path, cache: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), str(cache), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_killed_half_way_leaves_nothing_that_counts(file, cache):
    process = start(file, cache, 600)
    assert [process.stdout.readline() for _ in range(2)] == ["asking\n", "converting\n"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [name for name in left(cache) if not name.startswith(".making-")] == []
    made = packaged.ruler(str(file), cache)
    assert left(cache) == [made.folder.name]


def test_two_processes_convert_once(file, cache, monkeypatch):
    """The other one asks while this one converts: it waits, converts nothing, and gets what was made."""
    convert, others = packaged.convert, []

    def slow(*words):
        others.append(start(file, cache, 0.0))
        assert others[0].stdout.readline() == "asking\n"
        with pytest.raises(subprocess.TimeoutExpired):
            others[0].wait(0.5)
        return convert(*words)

    monkeypatch.setattr(packaged, "convert", slow)
    made = packaged.ruler(str(file), cache)
    assert [process.communicate()[0].split() for process in others] == [[str(made.folder)]]
    assert left(cache) == [made.folder.name]


def test_the_real_model_where_it_was_fetched():
    home = packaged.known("packaged:smollm2-135m")
    if home is None:
        pytest.skip("packaged:smollm2-135m is not in the cache: tests fetch nothing")
    scorer, tokenizer = connect("transformers", "packaged:smollm2-135m"), read_tokenizer("packaged:smollm2-135m")
    assert (scorer.prefix_id, scorer.context, scorer.vocabulary) == (0, 8192, 49_152)
    assert tokenizer.convert_ids_to_tokens(0) == "<|endoftext|>"
    ids = tokenizer("It was the best of times, it was the worst of times", add_special_tokens=False)["input_ids"]
    scores = scorer.score([ids])[0]
    np.testing.assert_allclose(scores[:4], [-8.44, -3.19, -2.87, -6.67], atol=0.01)
