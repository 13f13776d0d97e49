"""The backends of the selective scan: which one runs, that each is the recurrence, and what each refuses."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from l2m_utils.layers import scan_backends, scan_triton
from l2m_utils.layers.scan_backends import backend_name, forced_backend
from l2m_utils.layers.selective_scan import selective_scan, selective_scan_loop

WITHOUT_TRITON = pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")


def inputs(batch=2, length=11, channels=5, entries=3, dtype=torch.float32, device="cpu"):
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    x, B, C = normal(batch, length, channels), normal(batch, length, entries), normal(batch, length, entries)
    delta, A = torch.exp(normal(batch, length, channels) - 1), -torch.exp(normal(channels, entries))
    values = x, delta, A, B, C, normal(channels), normal(batch, channels, entries)
    return [value.to(device, dtype).requires_grad_() for value in values]


def assert_is_the_recurrence(backend, values, rtol):
    """Outputs, last state and all gradients, through the public function."""
    with forced_backend(backend):
        y, state = selective_scan(*values)
    wanted, wanted_state = selective_scan_loop(*values)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)
    loss = lambda y, state: (y * weight).sum() + state.sin().sum()
    grads = torch.autograd.grad(loss(y, state), values)
    for got, expected in zip(
        (y, state, *grads),
        (wanted, wanted_state, *torch.autograd.grad(loss(wanted, wanted_state), values)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=rtol, atol=rtol)


# --- the choice


@pytest.mark.parametrize(
    ("installed", "dtype", "entries", "state", "expected"),
    [
        ((), torch.float32, 16, None, "torch"),
        (("triton",), torch.float32, 16, None, "triton"),
        (("triton", "mamba_ssm.ops.selective_scan_interface"), torch.float32, 16, None, "mamba-ssm"),
        # what mamba-ssm cannot do: a first state, double precision, more than 256 entries
        (("triton", "mamba_ssm.ops.selective_scan_interface"), torch.float32, 16, torch.zeros(1), "triton"),
        (("triton", "mamba_ssm.ops.selective_scan_interface"), torch.float64, 16, None, "triton"),
        (("mamba_ssm.ops.selective_scan_interface",), torch.float32, 512, None, "torch"),
    ],
)
def test_cuda_tensors_take_the_fastest_backend_that_can(monkeypatch, installed, dtype, entries, state, expected):
    monkeypatch.setattr(scan_backends, "importable", lambda module: module in installed)
    assert backend_name(SimpleNamespace(is_cuda=True, dtype=dtype), torch.ones(1, entries), state) == expected


def test_forcing_ends_with_the_block_and_nests():
    x, A = torch.ones(1, 1, 1), torch.ones(1, 1)
    with forced_backend("triton"):
        with pytest.raises(KeyError), forced_backend("mamba-ssm"):
            assert backend_name(x, A, None) == "mamba-ssm"
            raise KeyError
        assert backend_name(x, A, None) == "triton"
    assert backend_name(x, A, None) == "torch"


# --- mamba-ssm, through a module with its signature, its layout and its missing gradient


class TimeLast(torch.autograd.Function):
    """What ``selective_scan_fn`` promises: time last, the last state without a gradient."""

    @staticmethod
    def scan(u, delta, A, B, C):
        h, out = u.new_zeros(*u.shape[:2], A.shape[1]), []
        for t in range(u.shape[2]):
            h = torch.exp(delta[:, :, t, None] * A) * h + (delta * u)[:, :, t, None] * B[:, None, :, t]
            out.append((h * C[:, None, :, t]).sum(-1))
        return torch.stack(out, dim=-1), h

    @staticmethod
    def forward(ctx, *values):
        ctx.save_for_backward(*values)
        return TimeLast.scan(*values)

    @staticmethod
    def backward(ctx, y_grad, _):
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        with torch.enable_grad():
            y, _ = TimeLast.scan(*values)
        return torch.autograd.grad(y, values, y_grad)


@pytest.fixture
def mamba_ssm(monkeypatch):
    calls = []

    def selective_scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
    ):
        calls.append({"u": u.shape, "delta": delta.shape, "A": A.shape, "B": B.shape, "C": C.shape})
        assert all(value.is_contiguous() for value in (u, delta, A, B, C))
        assert D is None and z is None and delta_bias is None and not delta_softplus and return_last_state
        return TimeLast.apply(u, delta, A, B, C)

    package, ops, interface = (
        ModuleType(name) for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface")
    )
    interface.selective_scan_fn = selective_scan_fn
    for module in (package, ops, interface):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_mamba_ssm_gets_its_layout_and_gives_ours(mamba_ssm):
    *values, state = inputs()
    with forced_backend("mamba-ssm"):
        y, last = selective_scan(*values)
    assert mamba_ssm == [{"u": (2, 5, 11), "delta": (2, 5, 11), "A": (5, 3), "B": (2, 3, 11), "C": (2, 3, 11)}]
    wanted, wanted_last = selective_scan_loop(*values)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(last, wanted_last)
    for got, expected in zip(
        torch.autograd.grad(y.square().sum(), values), torch.autograd.grad(wanted.square().sum(), values), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_mamba_ssm_never_gives_a_wrong_gradient_or_start(mamba_ssm):
    *values, state = inputs()
    with forced_backend("mamba-ssm"):
        y, last = selective_scan(*values)
        with pytest.raises(RuntimeError, match="ignores the gradient of the last state"):
            (y.sum() + last.sum()).backward()
        with pytest.raises(ValueError, match="zero state"):
            selective_scan(*values, state)


def test_absent_packages_are_named_with_their_install_line(monkeypatch):
    monkeypatch.setattr(scan_backends, "importable", lambda module: False)
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    for name, line in (("mamba-ssm", "pip install mamba-ssm"), ("triton", "pip install triton")):
        with forced_backend(name), pytest.raises(ImportError, match=line):
            selective_scan(*inputs())


# --- Triton


def parity_in_the_interpreter():
    """Runs in a process that was started with ``TRITON_INTERPRET=1``: Triton reads it when it is imported."""
    for shape in (
        (1, 1, 1, 1),
        (2, 7, 3, 4),
        (1, 11, 3, 1),
        (2, 18, 70, 17),
    ):  # the last: three blocks of channels, no power of two
        assert_is_the_recurrence("triton", inputs(*shape, torch.float64), 1e-8)
        print("parity", *shape)


@WITHOUT_TRITON
def test_triton_kernels_are_the_recurrence_in_the_interpreter():
    code = "import test_scan_backends as here; here.parity_in_the_interpreter()"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parity") == 4


@WITHOUT_TRITON
@pytest.mark.parametrize(("kernel", "pointers"), [("_forward", 9), ("_backward", 15)])
def test_triton_kernels_compile_for_a_gpu_that_is_not_here(monkeypatch, tmp_path, kernel, pointers):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(scan_triton, kernel)
    signature = {
        name: "constexpr" if name in "DN" else "*fp32" if i < pointers else "i32"
        for i, name in enumerate(function.arg_names)
    }
    done = triton.compile(
        ASTSource(fn=function, signature=signature, constexprs={"D": 64, "N": 16}), target=GPUTarget("cuda", 80, 32)
    )
    assert done.asm["cubin"]


@WITHOUT_TRITON
def test_triton_refuses_cpu_tensors_unless_it_interprets():
    with forced_backend("triton"), pytest.raises(ValueError, match="needs CUDA tensors, got cpu"):
        selective_scan(*inputs())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_backends_are_the_recurrence_on_cuda(backend):
    if backend == "triton" and not find_spec("triton"):
        pytest.skip("triton is not installed")
    assert_is_the_recurrence(backend, inputs(2, 70, 33, 5, torch.float64, "cuda"), 1e-8)
    assert_is_the_recurrence(backend, inputs(2, 300, 96, 16, torch.float32, "cuda"), 1e-3)
