"""The training loop: exact resume, refusals, and the same gradients on one process and on two."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from l2m_utils.training import loop
from l2m_utils.training.checkpoints import CHECKPOINT, LOG
from l2m_utils.training.errors import TrainingError
from l2m_utils.training.loop import Settings, choose_device, train

SETTINGS = Settings(steps=12, learning_rate=1e-2, warmup=3, log_every=3, save_every=5, device="cpu", seed=4)


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1)
    )  # dropout: the generator's state matters


def batches(step, rank, world):
    draw = torch.Generator().manual_seed(1000 * step + rank)
    x = torch.randn(4, 2, 3, generator=draw)
    return x, x.sum(-1, keepdim=True)


def loss(net, batch):
    return (net(batch[0]) - batch[1]).square().mean()


class Stop(Exception):
    pass


@pytest.mark.parametrize("killed_at", [2, 7, 11])
def test_a_killed_run_resumes_to_the_same_bits(killed_at, tmp_path):
    def until_killed(step, rank, world):
        if step == killed_at:
            raise Stop
        return batches(step, rank, world)

    straight = model()
    rows = train(straight, batches, loss, SETTINGS, tmp_path / "straight", progress=False)
    with pytest.raises(Stop):
        train(model(), until_killed, loss, SETTINGS, tmp_path / "killed", progress=False)
    resumed = model()
    again = train(resumed, batches, loss, SETTINGS, tmp_path / "killed", progress=False)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [row["step"] for row in again] == [row["step"] for row in rows] == [3, 6, 9, 12]
    assert [json.loads(line)["step"] for line in (tmp_path / "killed" / LOG).read_text().splitlines()] == [3, 6, 9, 12]
    assert [(row["loss"], row["gradient_norm"]) for row in again] == [
        (row["loss"], row["gradient_norm"]) for row in rows
    ]


def test_a_damaged_checkpoint_is_named_and_the_run_begins_anew(tmp_path):
    """A flipped bit in a weight once went on as if nothing were: every part of the file is under its checksum."""

    def until_killed(step, rank, world):
        if step == 7:
            raise Stop
        return batches(step, rank, world)

    straight = model()
    expected = train(straight, batches, loss, SETTINGS, progress=False)
    with pytest.raises(Stop):
        train(model(), until_killed, loss, SETTINGS, tmp_path, progress=False)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    places = [*range(8, len(whole), len(whole) // 12), len(whole) - 1]
    damages = [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in places]
    for damage in (*damages, whole[:-5], whole[:300], b"", whole + b"more"):
        path.write_bytes(damage)
        resumed = model()
        with pytest.warns(RuntimeWarning, match="checkpoint.safetensors is damaged .*: training begins anew"):
            rows = train(resumed, batches, loss, SETTINGS, tmp_path, progress=False)
        assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
        assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_another_process_does_not_resume_on_the_generator_of_the_first(tmp_path, monkeypatch):
    def until_killed(step, rank, world):
        if step == 7:
            raise Stop
        return batches(step, rank, world)

    with pytest.raises(Stop):
        train(model(), until_killed, loss, SETTINGS, tmp_path, progress=False)
    seeds = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)

        def first_step(step, rank, world):
            seeds[rank] = torch.initial_seed()
            raise Stop

        with pytest.raises(Stop):
            train(model(), first_step, loss, SETTINGS, tmp_path, progress=False)
    assert seeds[0] != seeds[1]


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(model(), batches, loss, SETTINGS, tmp_path, progress=False)
    assert train(model(), lambda *_: pytest.fail("asked for data"), loss, SETTINGS, tmp_path, progress=False) == first


def test_a_run_ends_where_it_is_told_and_goes_on_to_the_same_bits(tmp_path):
    straight, staged, asked = model(), model(), []
    expected = train(straight, batches, loss, SETTINGS, progress=False)

    def enough(log):
        asked.append(log[-1]["step"])
        return log[-1]["step"] == asked_for

    every = sorted(row["step"] for row in expected)
    assert len(every) > 2
    for asked_for in (every[0], every[-1]):
        rows = train(staged, batches, loss, SETTINGS, tmp_path, progress=False, enough=enough)
        assert rows[-1]["step"] == asked_for
    assert asked == every  # once a row, and none of them twice
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), staged.parameters(), strict=True))


def test_the_loop_is_adamw_with_clipping_and_the_schedule():
    settings = replace(SETTINGS, clip=0.01, weight_decay=0.3)
    ours, theirs = (nn.Linear(3, 1) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    rows = train(ours, batches, loss, settings, progress=False)
    optimizer = torch.optim.AdamW(theirs.parameters(), weight_decay=0.3, betas=settings.betas)
    for step in range(12):
        optimizer.param_groups[0]["lr"] = settings.rate(step)
        optimizer.zero_grad()
        loss(theirs, batches(step, 0, 1)).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.01)
        optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert rows[-1]["tokens_per_second"] > 0 and rows[-1]["utilisation"] > 0


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    def spoiled(step, rank, world):
        x, y = batches(step, rank, world)
        return x, y * (float("nan") if step == 8 else 1)

    with pytest.raises(TrainingError, match=r"step 9 of 12; the last good checkpoint is .*checkpoint.safetensors"):
        train(model(), spoiled, loss, SETTINGS, tmp_path, progress=False)
    from safetensors import safe_open

    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        assert file.metadata()["step"] == "5"
        assert all(torch.isfinite(file.get_tensor(name).float()).all() for name in file.keys())  # noqa: SIM118
    with pytest.raises(TrainingError, match="no checkpoint was written yet"):
        train(model(), spoiled, loss, replace(SETTINGS, save_every=0), tmp_path / "none", progress=False)


def test_checkpoint_of_another_configuration_is_refused(tmp_path):
    train(model(), batches, loss, SETTINGS, tmp_path, {"width": 8}, progress=False)
    with pytest.raises(TrainingError, match="width: 8 there, 16 here"):
        train(model(), batches, loss, SETTINGS, tmp_path, {"width": 16}, progress=False)
    with pytest.raises(TrainingError, match="settings.learning_rate: 0.01 there, 0.1 here"):
        train(model(), batches, loss, replace(SETTINGS, learning_rate=0.1), tmp_path, {"width": 8}, progress=False)


def test_out_of_memory_names_the_setting():
    def hungry(net, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="lower the sequences a step"):
        train(model(), batches, hungry, SETTINGS, progress=False)

    def processor(net, batch):
        return torch.empty(10**15).sum()

    with pytest.raises(TrainingError, match="out of memory on cpu at step 1"):
        train(model(), batches, processor, SETTINGS, progress=False)

    def python(net, batch):
        return bytearray(2**60)

    with pytest.raises(TrainingError, match="out of memory on cpu at step 1"):
        train(model(), batches, python, SETTINGS, progress=False)

    class Large(torch.optim.SGD):
        def step(self):
            raise torch.OutOfMemoryError("the moments do not fit")

    with pytest.raises(TrainingError, match="out of memory on cpu at step 1 with a batch of shape \\(4, 2, 3\\)"):
        train(
            model(),
            batches,
            loss,
            SETTINGS,
            progress=False,
            optimizers=lambda net, settings: [Large(net.parameters(), lr=0.1)],
        )

    class Huge(nn.Linear):
        def to(self, device):
            raise torch.OutOfMemoryError("the weights do not fit")

    with pytest.raises(TrainingError, match="when the model of 4 weights was put on cpu"):
        train(Huge(3, 1), batches, loss, SETTINGS, progress=False)


def test_other_errors_pass_unchanged():
    def broken(net, batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(model(), batches, broken, SETTINGS, progress=False)


def test_a_missing_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="torch sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(TrainingError, match="expected 'cpu'"):
        choose_device("tpu")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"warmup": 12}, {"precision": "fp16"}, {"log_every": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="expected"):
        replace(SETTINGS, **wrong)


def test_bf16_changes_the_arithmetic_and_still_learns():
    single, half = model().eval(), model()
    rows = {}
    for net, precision in ((single, "fp32"), (half, "bf16")):
        rows[precision] = train(net, batches, loss, replace(SETTINGS, precision=precision), progress=False)
    assert rows["bf16"][0]["loss"] != rows["fp32"][0]["loss"]
    assert rows["bf16"][0]["loss"] == pytest.approx(rows["fp32"][0]["loss"], rel=0.05)


def test_the_global_random_state_is_left_alone():
    net = model()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    train(net, batches, loss, SETTINGS, progress=False)  # with dropout, which draws
    assert torch.equal(before, torch.get_rng_state())


def test_another_schedule_takes_the_place_of_the_cosine():
    nets, logs = (model(), model(), model()), []
    for net, rate in zip(nets, (None, SETTINGS.rate, lambda step: 1e-3 * step), strict=True):
        logs.append(train(net, batches, loss, SETTINGS, progress=False, rate=rate))
    assert [row["lr"] for row in logs[2]] == [0.002, 0.005, 0.008, 0.011]
    assert torch.equal(nets[0][0].weight, nets[1][0].weight) and not torch.equal(nets[0][0].weight, nets[2][0].weight)


def test_matmul_rate_draws_no_random_numbers():
    before = torch.get_rng_state()
    assert loop.matmul_rate(torch.device("cpu"), torch.float32, side=64) > 0
    assert torch.equal(before, torch.get_rng_state())
