"""The meters count what they say."""

import pytest
import torch

from l2m_utils.layers import costs
from l2m_utils.layers.costs import product_seconds, saved_bytes, step_seconds


def test_a_loop_keeps_a_state_a_token_and_views_count_once():
    def loop(tokens):
        h = torch.ones(1, requires_grad=True)
        for _ in range(tokens):
            h = h.exp()  # keeps its result: 4 bytes
        return h

    assert saved_bytes(lambda: loop(10)) == 40
    x = torch.ones(6, requires_grad=True)
    twice = torch.ones(6)
    assert saved_bytes(lambda: x[:3] * twice[:3] + x[3:] * twice[3:], [x]) == 24  # two views of one storage
    assert saved_bytes(lambda: x + 1, [x]) == 0


def test_the_fast_scans_keep_less_than_the_loops():
    from l2m_utils.layers.selective_scan import selective_scan, selective_scan_loop

    draw = torch.Generator().manual_seed(0)
    inputs = [
        torch.rand(shape, generator=draw).requires_grad_()
        for shape in ((1, 256, 4), (1, 256, 4), (4, 8), (1, 256, 8), (1, 256, 8))
    ]
    inputs[2] = (-inputs[2]).detach().requires_grad_()
    loop, fast = (
        saved_bytes(lambda scan=scan: scan(*inputs)[0], inputs) for scan in (selective_scan_loop, selective_scan)
    )
    assert 0 < 4 * fast < loop


@pytest.mark.parametrize("name", ["scan", "duality"])
def test_what_the_fast_layers_keep_grows_no_faster_than_the_length(name):
    from l2m_utils.layers.selective_scan import selective_scan
    from l2m_utils.layers.ssd import ssd

    def kept(length):
        one = lambda *shape: torch.rand(1, length, *shape).requires_grad_()
        A = -torch.rand(32, 8) if name == "scan" else -torch.rand(4)
        x, delta, B, C = (
            (one(32), one(32), one(8), one(8)) if name == "scan" else (one(4, 8), one(4), one(1, 8), one(1, 8))
        )
        function = selective_scan if name == "scan" else ssd
        return saved_bytes(lambda: function(x, delta, A, B, C)[0], [x, delta, A, B, C]), 4 * length * (32 + 32 + 2 * 8)

    sizes = {length: kept(length)[0] for length in (512, 1024, 4096)}
    assert 0 < sizes[1024] <= 2.05 * sizes[512] and sizes[4096] <= 8.2 * sizes[512]
    assert sizes[4096] < kept(4096)[1]  # less than the inputs


def test_seconds_are_the_least_of_the_repeats_and_not_the_first_call(monkeypatch):
    clock = iter([0.0, 10.0, 13.0, 20.0, 22.0])  # the first call is not timed
    monkeypatch.setattr(costs.time, "process_time", lambda: next(clock))
    x = torch.ones(2, requires_grad=True)
    assert step_seconds(lambda: x * 2, 2) == 2.0
    assert x.grad.tolist() == [6.0, 6.0]  # every call went backward
    with pytest.raises(ValueError, match="at least 1"):
        step_seconds(lambda: x, 0)


def test_products_are_counted_forward_and_backward_and_nothing_else_is(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(costs.time, "thread_time", lambda: float(next(clock)))
    weight, x = torch.ones(3, 2, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    seconds, size = product_seconds(lambda: (x @ weight).sin().sum().backward(), 2)
    assert seconds == 3.0  # one there, two back, a tick each
    assert size == 3 * 4 * (12 + 6 + 8)


def test_products_that_differ_from_call_to_call_are_refused():
    a, calls = torch.ones(2, 2), iter([1, 2])
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        product_seconds(lambda: [a @ a for _ in range(next(calls))], 2)


def test_a_profile_gives_every_operator_its_time_and_the_rest_to_nobody(monkeypatch):
    ticks, whole = iter(range(1000)), iter([0.0, 10.0, 20.0, 32.0])
    monkeypatch.setattr(costs.time, "thread_time", lambda: float(next(ticks)))
    monkeypatch.setattr(costs.time, "process_time", lambda: next(whole))
    a = torch.ones(2, 2)
    found = costs.step_profile(lambda: (a @ a @ a).sin().cos(), 2, least=0.15).set_index("part")
    assert found["seconds"].to_dict() == {"matrix products": 2.0, "other operators": 2.0, "between the operators": 6.0}
    assert found["share"].tolist() == [0.2, 0.2, 0.6] and found["calls"].tolist() == [2, 2, 0]
