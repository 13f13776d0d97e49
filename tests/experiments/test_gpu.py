"""The prepared quarter of an hour of a GPU, rehearsed on the CPU: what it writes, and that one stage cannot take another with it."""

import argparse
import json
import sys
import time
from pathlib import Path

import faulty_child
import numpy as np
import pandas as pd
import pytest
import torch

from l2m_utils.cli.main import main
from l2m_utils.experiments.gaussian_runs import HELD_OUT_SEED
from l2m_utils.experiments.gpu import books, children, figure3, layers, parity, pieces, publish, race, text
from l2m_utils.experiments.gpu import command as command_line
from l2m_utils.experiments.gpu.archive import FILES, PIECES, Archive, read
from l2m_utils.experiments.gpu.gaussian_device import DeviceGaussian
from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.project import RESULTS
from l2m_utils.records import Recorder, load_values, stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.text.documents import CorpusError
from l2m_utils.text.tokens import TokenCorpus

CPU = torch.device("cpu")
ABSENT = (
    "pydantic",
    "papermill",
    "zstandard",
    "datasets",
    "pyppmd",
    "gguf",
    "snakemake",
    "mamba_ssm",
    "statsmodels",
    "mambapy",
    "nbformat",
    "jupytext",
    "vllm",
)


@pytest.fixture(autouse=True)
def threads():
    before, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    yield
    torch.set_num_threads(before)
    torch.backends.cuda.matmul.allow_tf32 = tf32


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Made-up books by twelve authors, and openings by some of them."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    words = np.array(
        [
            "the",
            "a",
            "sea",
            "ship",
            "old",
            "man",
            "went",
            "over",
            "house",
            "river",
            "and",
            "slowly",
            "said",
            "nothing",
            "at",
            "all",
            "again",
        ]
    )
    made = lambda n: " ".join(". ".join(" ".join(rng.choice(words, 9)).capitalize() for _ in range(n)).split()) + "."
    pd.DataFrame(
        {
            "text": [made(60) for _ in range(12)],
            "author": [f"Ann A{i}" for i in range(12)],
            "title": [f"Book {i}" for i in range(12)],
        }
    ).to_parquet(folder / books.BOOKS)
    pd.DataFrame(
        {
            "text": [made(30) for _ in range(12)],
            "author": [f"A{i}, Ann" for i in range(12)],
            "title": [f"Other {i}" for i in range(12)],
        }
    ).to_parquet(folder / books.OPENINGS)
    return folder


# --- the command -----------------------------------------------------------------------------------


def arguments(folder, minutes, stages):
    return argparse.Namespace(out=folder, minutes=minutes, stages=stages, data=folder, commit="abc", rehearse=True)


def test_a_stage_that_hangs_and_one_that_raises_leave_the_others_whole(tmp_path):
    write = "from l2m_utils.experiments.gpu.archive import Archive\nfrom pathlib import Path\na = Archive(Path({out!r}), {name!r}, 'abc')\na.json('answer', 42)\na.flush()\n"
    after = {"a": "import time; time.sleep(60)", "b": "raise SystemError('lost')", "c": ""}

    def stage_command(name, seconds, given):
        return [sys.executable, "-c", write.format(out=str(given.out), name=name) + after[name]]

    start = time.monotonic()
    rows = command_line.run_all(arguments(tmp_path, 0.3, ["a", "b", "c"]), stage_command)
    assert time.monotonic() - start < 20
    assert [(row["killed"], row["status"]) for row in rows] == [(True, None), (False, 1), (False, 0)]
    assert all(read(tmp_path / f"stage-{name}.zip")["answer"] == 42 for name in "abc")
    assert json.loads((tmp_path / "summary.json").read_text()) == rows
    assert "SystemError: lost" in (tmp_path / "log.txt").read_text()
    assert len(list(tmp_path.iterdir())) <= 8


def test_a_killed_stage_takes_its_own_children_with_it(tmp_path):
    code = "import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\nprint(child.pid, flush=True)\ntime.sleep(60)"
    with open(tmp_path / "log", "w") as log:
        status, seconds = command_line.watched([sys.executable, "-c", code], 2.0, log)
    child = int((tmp_path / "log").read_text())
    assert status is None and seconds < 10
    time.sleep(0.2)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_stages_get_their_shares_and_what_earlier_ones_leave(tmp_path):
    caps = []

    def stage_command(name, seconds, given):
        caps.append(seconds + command_line.LAST_WORDS)
        return [sys.executable, "-c", "pass"]

    rows = command_line.run_all(arguments(tmp_path, 10.0, ["a", "d"]), stage_command)
    assert caps[0] == pytest.approx(200, abs=1) and caps[1] == pytest.approx(600, abs=5)
    assert all("is no archive" in row["failures"][0] for row in rows)


@pytest.mark.parametrize(
    "words", [["--stages", "x", "--out", "o"], ["--stages", "a,a", "--out", "o"], ["--publish", "p", "--out", "o"], []]
)
def test_a_wrong_command_line_is_refused(words):
    with pytest.raises(SystemExit):
        main(["gpu", *words])


def test_the_luggage_is_cut_and_joined_by_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("l2m_utils.experiments.gpu.ruler.known", lambda *_: None)  # the cache may hold the model
    (tmp_path / "big").write_bytes(bytes(range(256)))
    load = tmp_path / "load"
    assert main(["gpu", "--cut", str(tmp_path / "big"), "--data", str(load)]) == 0
    assert capsys.readouterr().out.split() == [str(load / "big.part-00")]
    assert main(["gpu", "--join", "--data", str(load)]) == 0
    assert (load / "big").read_bytes() == bytes(range(256))
    for words in (["--cut", str(tmp_path / "none")], ["--join"], ["--prepare"]):
        assert main(["gpu", *words, "--data", str(tmp_path / "nothing")]) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_without_a_gpu_a_stage_says_so(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for stage in (figure3, text):
        with pytest.raises(RuntimeError, match="sees no GPU"):
            stage.run(tmp_path, 5.0, data=tmp_path)


# --- children and archives -------------------------------------------------------------------------


def test_a_child_that_dies_goes_on_behind_the_item_that_killed_it(tmp_path):
    rows = children.in_child(faulty_child.work, tmp_path / "rows", 150.0, lambda: None, fault="two")
    assert [row["value"] for row in rows if "value" in row] == ["one", "three"]
    assert [row["error"] for row in rows if "error" in row] == ["ValueError: no such thing"]


def test_an_archive_has_no_more_bytes_than_travel_and_names_what_it_lacks(tmp_path, monkeypatch):
    random = lambda rows: pd.DataFrame({"x": np.random.default_rng(0).random(rows)})
    monkeypatch.setattr("l2m_utils.experiments.gpu.archive.LARGEST", 9000)
    archive = Archive(tmp_path, "x")
    archive.json("small", 1)
    archive.table("grows", random(300))
    assert archive.flush().stat().st_size <= 9000 and not read(archive.path)["failures"]
    archive.json("small", 2)
    archive.table("grows", random(10_000))
    archive.table("large", random(20_000))
    for _ in range(2):  # said once in each archive
        assert archive.flush().stat().st_size <= 9000
        back = read(archive.path)
        assert back["small"] == 2 and len(back["grows"]) == 300 and "large" not in back
        errors = [failure["error"].split(":")[1] for failure in back["failures"]]
        assert [error.split("bytes ")[1] for error in errors] == ["is left out", "stays as it was in the last archive"]
    archive.table("grows", random(400))
    archive.table("large", random(0)), archive.entries.pop("large.parquet")
    assert len(read(archive.flush())["grows"]) == 400 and not read(archive.path)["failures"]
    archive.about["long"] = np.random.default_rng(1).bytes(20_000).hex()
    with pytest.raises(ValueError, match="keep less in its meta and failures"):
        archive.flush()
    assert len(read(archive.path)["grows"]) == 400


def test_a_whole_run_leaves_eight_files_at_most(tmp_path, monkeypatch):
    assert len(FILES) == 8 and {f"stage-{name}.zip" for name in command_line.STAGES} < set(FILES)
    assert {"log.txt", "summary.json", *(f"ruler-{piece}.parquet" for piece in range(1, PIECES + 1))} < set(FILES)
    monkeypatch.setattr("l2m_utils.experiments.gpu.archive.LARGEST", 3000)
    code = {
        "a": "(out / '.stage-a.zip.x1').write_text('half'); print('begin' + 5000 * 'x' + 'end')",
        "b": "[(out / f'ruler-{n}.parquet').write_bytes(bytes(n * 2000)) for n in (1, 2)]",
        "c": "(out / 'core.7').write_text('dump')",
    }

    def stage_command(name, seconds, given):
        return [sys.executable, "-c", f"from pathlib import Path; out = Path({str(given.out)!r}); {code[name]}"]

    rows = command_line.run_all(arguments(tmp_path / "out", 1.0, list("abc")), stage_command)
    said = [[fault for fault in row["failures"] if "is no archive" not in fault] for row in rows]
    assert said == [
        [],
        ["ruler-2.parquet: 4,000 bytes, at most 3,000 travel back"],
        [
            "core.7: no file that a run leaves, it is not among the 8 that travel back",
            "ruler-2.parquet: 4,000 bytes, at most 3,000 travel back",
        ],
    ]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert len(log) <= 3300 and "begin" in log and "xend" in log and "bytes and more are left out here" in log
    assert not list((tmp_path / "out").glob(".*"))
    with pytest.raises(ValueError, match="holds core.7: expected nothing but what a run leaves, at most 8 files"):
        command_line.run_all(arguments(tmp_path / "out", 1.0, ["a"]), stage_command)


def test_pieces_are_joined_only_when_all_are_right(tmp_path):
    (tmp_path / "big").write_bytes(bytes(range(256)) * 10)
    made = pieces.cut(tmp_path / "big", tmp_path / "one", 1000)
    (tmp_path / "two").mkdir()
    made[2] = made[2].rename(tmp_path / "two" / made[2].name)  # two loads, two folders
    home = tmp_path / "home"
    assert pieces.join(tmp_path, home=home).read_bytes() == (tmp_path / "big").read_bytes()
    (home / "big").unlink()
    content = made[2].read_bytes()
    made[2].write_bytes(content[:-1] + b"!")
    with pytest.raises(ValueError, match="not the piece that was cut"):
        pieces.join(tmp_path, home=home)
    made[2].unlink()
    with pytest.raises(ValueError, match="lacks big.part-02 of big; expected 3 pieces"):
        pieces.join(tmp_path, home=home)
    assert list(home.iterdir()) == []


# --- what comes back -------------------------------------------------------------------------------


def returned(folder, commit="abc123", rehearsal=False):
    archive = Archive(folder, "a", commit, rehearsal=rehearsal)
    archive.table(
        "machine", pd.DataFrame({"item": ["copy"], "quantity": ["copy"], "value": [3e12], "unit": ["byte/s"]})
    )
    parity = {"layer": "scan", "backend": "triton", "precision": "float32", "tolerance": 1e-4}
    archive.table("parity", pd.DataFrame([parity | {"error": error} for error in (1e-7, 2e-6)]))
    archive.flush()
    other = Archive(folder, "d", commit, rehearsal=rehearsal)
    other.table("curves", pd.DataFrame({"steps": [200], "kl": [0.1]}))
    other.flush()


def test_what_comes_back_is_published_with_the_commit_of_its_run(tmp_path, capsys):
    returned(tmp_path)
    assert main(["gpu", "--publish", str(tmp_path), "--results", str(tmp_path / "results")]) == 0
    assert "layers-parity.parquet" in capsys.readouterr().out
    values = load_values(tmp_path / "results" / "gpu-none")
    error = values["models/gpu:layers-error-scan-triton-float32"]
    assert (error["value"], error["commit"], error["tier"], error["corpus"]) == (2e-6, "abc123", "gpu", "none")
    assert values["models/gpu:layers-copy"]["value"] == 3e12
    frame, about = stored_table("models/gpu", "figure3-curves", results=tmp_path / "results")
    assert frame.kl.tolist() == [0.1] and about["commit"] == "abc123"


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert main(["gpu", "--publish", str(tmp_path), "--results", str(tmp_path / "results")]) == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "results").exists()
    (tmp_path / "stage-a.zip").write_bytes(b"not a zip")
    assert main(["gpu", "--publish", str(tmp_path)]) == 1
    assert "is no archive" in capsys.readouterr().err


def test_the_minutes_of_a_run_are_those_of_its_stages_and_of_what_lay_between(tmp_path):
    record = Recorder("models/gpu", "gpu", folder=tmp_path)
    publish.run_values(record, [{"stage": "b", "begun": 120, "seconds": 90}, {"stage": "a", "begun": 0, "seconds": 60}])
    minutes = lambda folder: [load_values(folder)[f"models/gpu:{name}-minutes"]["value"] for name in ("run", "stages")]
    assert minutes(tmp_path) == [3.5, 2.5]
    places = {"layers": "none", "ruler": "books", "text": "books", "figure3": "none"}
    metas = [stored_table("models/gpu", f"{word}-meta", corpus)[0].iloc[0] for word, corpus in places.items()]
    ends = [meta["begun"] + meta["seconds"] for meta in metas]
    run = max(ends) - min(meta["begun"] for meta in metas)
    stored = [run / 60, sum(meta["seconds"] for meta in metas) / 60]
    assert minutes(RESULTS / "gpu-none") == pytest.approx(stored)


@pytest.mark.parametrize(
    ("commit", "rehearsal", "message"),
    [("abc", True, "is a rehearsal"), ("unknown", False, "cannot be traced"), ("a+changes", False, "cannot be traced")],
)
def test_what_cannot_be_traced_is_not_published(tmp_path, commit, rehearsal, message):
    returned(tmp_path, commit, rehearsal)
    with pytest.raises(ValueError, match=message):
        publish.publish(tmp_path, tmp_path / "results")
    assert not (tmp_path / "results").exists()


# --- stage a ---------------------------------------------------------------------------------------


def test_layers_rehearsed(tmp_path):
    layers.run(tmp_path, 60.0, rehearse=True, commit="abc")
    back = read(tmp_path / "stage-a.zip")
    assert back["faults"] == [] and back["failures"] == [] and back["meta"]["commit"] == "abc"
    assert (
        set(back["machine"].quantity) == {"copy", "matmul fp32", "matmul tf32", "matmul bf16", "matmul fp64"}
        and (back["machine"].value > 0).all()
    )
    table = back["parity"]
    assert table.passed.all() and set(table.layer) == {"scan", "ssd", "mamba backbone", "mamba2 backbone"}
    assert table[table.precision == "float64"].error.max() < 1e-12
    steps = back["steps"].dropna(subset=["seconds"])  # a busy machine can make a series too slow to go on
    assert (
        set(steps.whose) == {"ours", "theirs"}
        and (steps.seconds > 0).all()
        and (steps[(steps.whose == "ours") & (steps.kind == "mamba2")].matrix_flops > 0).all()
    )
    assert len(back["layers"]) == 2 and back["profile"].share.max() <= 1


def test_parity_finds_a_wrong_gradient_and_a_nan():
    wanted = {"y": torch.ones(3), "gradient of A": torch.ones(2)}
    rows = parity.compared(
        {"y": torch.tensor([1.0, 1.0, torch.nan]), "gradient of A": torch.tensor([1.0, 1.01])}, wanted, "float32"
    )
    assert [row["passed"] for row in rows] == [False, False]


# --- stage c ---------------------------------------------------------------------------------------


def test_text_rehearsed(tmp_path, corpora):
    text.run(tmp_path, 60.0, data=corpora, rehearse=True, commit="abc")
    back = read(tmp_path / "stage-c.zip")
    assert back["failures"] == []
    runs = back["runs"]
    scored = runs[runs.purpose != "search"]
    # Equal budgets for all, and nearly untrained models guess among the vocabulary.
    assert scored.groupby("budget").model.apply(set).tolist() == [set(text.KINDS)] * 2
    assert ((scored.held_out_nll > 3) & (scored.held_out_nll < np.log(back["corpus"]["vocabulary"]) + 0.3)).all()
    losses = back["losses"]
    assert set(losses.budget) == {4} and losses.groupby("model").size().nunique() == 1
    total = losses.groupby("model").nll_sum.sum() / losses.groupby("model").samples.sum()
    last = scored[scored.budget == 4].set_index("model").held_out_nll
    assert np.allclose(total[last.index], last, atol=0.02)  # sums are kept in 1/64 of a nat
    assert {"average", "final", "search"} == set(runs.purpose)


def test_held_out_authors_are_in_no_training_text(corpora):
    frame = books.read_books(corpora)
    learn, held = books.hold_out(frame, 0.3)
    names = lambda rows: set().union(*(books.surnames(author) for author in frame.author[rows]))
    assert len(held) == 4 and not names(learn) & names(held) and len(learn) == 24 - 8
    assert (frame.file[held] == books.BOOKS).all()


def test_processes_do_not_change_the_tokens(corpora):
    one, two = (books.tokenised(corpora, 300, processes=processes) for processes in (1, 2))
    assert sorted(map(bytes, one[0].documents)) == sorted(map(bytes, two[0].documents))
    assert (one[1].ids == two[1].ids).all() and (one[1].starts == two[1].starts).all() and one[2].equals(two[2])
    for i in range(len(two[0])):
        starts = two[0].sentence_starts(i)
        assert starts[0] == 0 and starts[-1] < two[0].lengths[i]


def test_no_books_is_one_message(tmp_path):
    with pytest.raises(CorpusError, match="books.parquet is not there"):
        books.read_books(tmp_path)


def test_averaged_weights_are_scored_and_put_back():
    recipe = TextRecipe(layers=1, width=32, context=8, vocabulary=300, batch=1, device="cpu")
    one = text.contender("gpt2", 300, recipe, 1e-2)
    with torch.no_grad():
        for value in one.average:
            value.zero_()
    ids = np.random.default_rng(0).integers(1, 300, 40).astype(np.int32)
    tokens = TokenCorpus("x", ids, np.array([0, 20, 40]), np.array([0, 5, 20, 25]), 300, "")
    before = [p.detach().clone() for p in one.model.parameters()]
    flat = text.scored(one, tokens, recipe, averaged=True)
    assert np.allclose(flat.nll_sum / flat.samples, np.log(300), atol=1e-5)  # a model of zeros knows nothing
    assert all(torch.equal(a, b) for a, b in zip(before, one.model.parameters(), strict=True)) and one.model.training
    assert not np.allclose(
        text.scored(one, tokens, recipe, averaged=False).nll_sum / flat.samples, np.log(300), atol=1e-5
    )


# --- stage d ---------------------------------------------------------------------------------------


def without_what_the_gpu_machine_lacks(name, seconds, given):
    """The command of a stage, in a Python that has none of ``ABSENT`` and has imported every module of the run."""
    modules = sorted(path.stem for path in Path(layers.__file__).parent.glob("*.py") if path.stem not in ("__init__",))
    python, flag, module, *words = command_line.command(name, seconds, given)
    assert (flag, module, words[0]) == ("-m", "l2m_utils", "gpu")
    code = "import sys\n" + "".join(f"sys.modules[{absent!r}] = None\n" for absent in ABSENT)
    code += "".join(f"import l2m_utils.experiments.gpu.{module}\n" for module in modules)
    return [python, "-c", code + f"from l2m_utils.cli.main import main\nsys.exit(main({words}))"]


def test_figure3_rehearsed_by_the_command_line_without_what_the_gpu_machine_lacks(tmp_path):
    rows = command_line.run_all(arguments(tmp_path, 1.5, ["d"]), without_what_the_gpu_machine_lacks)
    assert [row["status"] for row in rows] == [0], (tmp_path / "log.txt").read_text()[-2000:]
    back = read(tmp_path / "stage-d.zip")
    assert back["failures"] == [] and back["meta"]["commit"] == "abc"
    curves = back["curves"]
    assert (curves.kl >= 0).all() and set(curves.role) == {"search", "first", "others"}
    # The bound that a model without memory attains, from the specification: 0.1595 nats at 16 positions.
    assert back["sources"][0]["memoryless_kl"] == pytest.approx(0.1595, abs=5e-5)
    assert set(curves.state[curves.role == "others"] / 4) == {2, 4, 16} and set(
        curves.state[curves.role == "first"] / 4
    ) == {0, 1}
    assert curves.groupby("role").steps.max().nunique() == 1  # equal steps
    costs = back["costs"]
    assert costs.parameters.max() / costs.parameters.min() < 1.03 and (costs.step_flops > 0).all()
    last = (
        curves[curves.steps == curves.steps.max()]
        .set_index(["role", "kind", "state", "seed", "learning_rate"])
        .kl.sort_index()
    )
    by_position = back["positions"].groupby(["role", "kind", "state", "seed", "learning_rate"]).kl.mean()
    assert np.allclose(last, by_position[last.index], rtol=1e-4)


@pytest.mark.parametrize("family", ["sub-volume", "logarithmic"])
def test_data_drawn_on_a_device_are_those_of_the_exact_source(family):
    source, noise = DeviceGaussian(64, CPU, family), np.random.default_rng(0).standard_normal((3, 64))
    values = source.values(torch.from_numpy(noise))
    assert np.allclose(values, source.exact.layered_map(noise), atol=1e-12)
    assert np.allclose(source.means(values), source.exact.conditionals(values.numpy())[0], atol=1e-12)


def test_held_out_data_are_those_of_the_laptop_runs():
    values, means = figure3.held_out(16, 64, CPU)
    first, true, _ = HierarchicalGaussian(2).batch(4, 4, np.random.default_rng(HELD_OUT_SEED))
    assert np.allclose(values, first, atol=1e-6) and np.allclose(means, true, atol=1e-6)


def test_a_race_learns_and_all_its_cells_see_equal_steps():
    cells = [race.Cell("transformer", 0, seed, 5e-3, 32) for seed in (0, 1)] + [race.Cell("mamba2", 4, 0, 5e-3, 32)]
    source = DeviceGaussian(4, CPU)
    result = race.race(cells, source, 32, 60.0, figure3.held_out(4, 2048, CPU), CPU, most_steps=150, first=50)
    frame = pd.DataFrame(result.rows)
    assert sorted(set(frame.steps)) == [50, 75, 100, 150] and (frame.groupby("steps").size() == 3).all()
    assert (frame[frame.steps == 150].kl < 0.03).all() and (frame.kl >= 0).all()  # 0.0896 without memory
    assert result.positions[0][0] < 0.01 and len(result.positions[2]) == 4


def test_a_diverging_cell_ends_alone():
    cells = [race.Cell("mamba2", 4, 0, rate, 8) for rate in (1e-3, 1e30)]
    result = race.race(
        cells, DeviceGaussian(4, CPU), 2, 30.0, figure3.held_out(4, 64, CPU), CPU, most_steps=30, first=10
    )
    assert {row["cell"] for row in result.rows if row["steps"] == 30} == {0}
    assert any("not finite" in note["failure"] for note in result.notes)


def test_the_averaged_weights_are_the_weighted_mean_that_the_docstring_says():
    pool = race.Pool(torch.zeros(race.POOL, 1, 4, 4), torch.zeros(race.POOL, 1, 4, 4), torch.ones(4))
    runner = race.Runner(race.Cell("mamba2", 4, 0, 1e-3, 8), pool, 4, CPU)
    marks = np.arange(race.AVERAGED, 1001, race.AVERAGED)
    for mark in marks:
        with torch.no_grad():
            for p in runner.parameters:
                p.fill_(float(mark))
        runner.follow(int(mark))
    wanted = np.average(marks, weights=marks.astype(float) ** race.SHARPNESS)
    assert float(runner.average[0].flatten()[0]) == pytest.approx(wanted, rel=0.01)


def test_all_flat_waits_for_every_cell_and_the_least_number_of_steps():
    rows = [
        {"cell": c, "steps": n, "kl": kl}
        for c, curve in enumerate([(0.101, 0.1), (0.2, 0.1)])
        for n, kl in zip((200, 300), curve, strict=True)
    ]
    assert not figure3.all_flat(rows, 200)
    assert figure3.all_flat([row for row in rows if row["cell"] == 0], 200) and not figure3.all_flat(
        [row for row in rows if row["cell"] == 0], 400
    )


def test_the_best_rate_is_read_where_all_rates_were_measured():
    rows = [
        {"kind": "mamba2", "learning_rate": rate, "steps": steps, "kl": kl}
        for rate, steps, kl in ((1, 200, 0.3), (1, 300, 0.2), (2, 200, 0.1), (2, 300, 0.25))
    ]
    assert figure3.best_rates(rows) == {"mamba2": 1.0}
