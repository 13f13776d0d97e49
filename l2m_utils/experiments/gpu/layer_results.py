"""What stage a brought home, read: are the layers right, how fast are steps, how near is a scan to its limit, and where does the time go?

Every function takes tables of the records ``models/gpu:layers-*``.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

OURS = ("_forward", "_backward")  # the Triton kernels of the scan, whole names
# first match of a piece of another kernel's name → what it does
GROUPS = {
    "gemm": "matrix products",
    "cutlass": "matrix products",
    "direct_copy": "copies",
    "Memcpy": "copies",
    "CatArray": "copies",
    "reduce_kernel": "sums",
    "tensor_kernel_scan": "sums",
    "elementwise_kernel": "element by element",
}


def parity_summary(parity: pd.DataFrame) -> pd.DataFrame:
    """Largest relative error against float64 for every layer, backend and precision, and of which quantity it is; a NaN is an infinite error.

    >>> rows = pd.DataFrame({"layer": "scan", "backend": "triton", "precision": "float32", "shape": ["a", "b"], "quantity": ["y", "gradient of A"],
    ...                      "error": [1e-7, 2e-6], "tolerance": 1e-4, "passed": True, "same_bits_twice": [True, None]})
    >>> parity_summary(rows).reset_index()[["rows", "error", "of", "passed", "repeats"]].values.tolist()
    [[2, 2e-06, 'gradient of A', True, True]]
    """
    found = []
    groups: Any = parity.groupby(["layer", "backend", "precision"])  # pandas says of a key that it is hashable, no more
    for key, part in groups:
        error = part.error.fillna(float("inf"))
        found.append(
            dict(zip(("layer", "backend", "precision"), key, strict=True))
            | {
                "rows": len(part),
                "shapes": part["shape"].nunique(),
                "error": float(error.max()),
                "of": part.quantity[error.idxmax()],
                "tolerance": float(part.tolerance.max()),
                "passed": bool(part.passed.all()),
                "repeats": bool(part.same_bits_twice.dropna().astype(bool).all()),
            }
        )
    return pd.DataFrame(found).set_index(["layer", "backend", "precision"])


def step_comparison(steps: pd.DataFrame, machine: pd.DataFrame) -> pd.DataFrame:
    """Ours beside transformers' for every kind and length: seconds and gigabytes of both, theirs over ours, and the share of the matrix rate that ours reaches.

    >>> rows = pd.DataFrame({"whose": ["ours", "theirs"], "kind": "mamba", "length": 8, "sequences": 4, "width": 128, "layers": 4, "precision": "fp32",
    ...                      "seconds": [1.0, 4.0], "gigabytes": [1.0, 3.0], "matrix_flops": [10.0, None]})
    >>> rate = pd.DataFrame({"quantity": ["matmul fp32"], "value": [100.0]})
    >>> step_comparison(rows, rate).reset_index()[["faster", "smaller", "matrix_share"]].values.tolist()
    [[4.0, 3.0, 0.1]]
    """
    keys = ["kind", "width", "layers", "sequences", "precision", "length"]
    columns = ["seconds", "gigabytes", "matrix_flops"]
    sides = {whose: part.set_index(keys)[columns] for whose, part in steps.groupby("whose")}
    both = sides["ours"].join(sides["theirs"], lsuffix="_ours", rsuffix="_theirs", how="inner").astype(float)
    rates = machine.set_index("quantity").value
    at_best = [rates[f"matmul {precision}"] for precision in both.index.get_level_values("precision")]
    return both.assign(
        faster=both.seconds_theirs / both.seconds_ours,
        smaller=both.gigabytes_theirs / both.gigabytes_ours,
        matrix_share=both.matrix_flops_ours / both.seconds_ours / at_best,
    ).drop(columns=["matrix_flops_ours", "matrix_flops_theirs"])


def copy_shares(layers: pd.DataFrame, machine: pd.DataFrame) -> pd.DataFrame:
    """Each scan's bytes a second as a share of a copy's, with the fewest bytes that it could move; forward alone and both ways.

    >>> scan = pd.DataFrame({"layer": ["scan"], "shape": ["1x1x1x1"], "backend": ["triton"], "forward_seconds": [1.0], "both_seconds": [4.0], "forward_bytes": [10], "both_bytes": [20]})
    >>> copy_shares(scan, pd.DataFrame({"quantity": ["copy"], "value": [100.0]}))[["forward", "both"]].values.tolist()
    [[0.1, 0.05]]
    """
    scans = layers[layers.layer == "scan"].set_index(["backend", "shape"])
    copy = float(machine.set_index("quantity").value["copy"])
    return pd.DataFrame(
        {
            "forward_seconds": scans.forward_seconds,
            "both_seconds": scans.both_seconds,
            "forward": scans.forward_bytes / scans.forward_seconds / copy,
            "both": scans.both_bytes / scans.both_seconds / copy,
        }
    )


def group_of(kernel: str) -> str:
    """What a kernel does, by its name.

    >>> group_of("sm90_xmma_gemm_f32f32"), group_of("_backward"), group_of("void at::native::elementwise_kernel<silu_backward>")
    ('matrix products', 'our scan', 'element by element')
    """
    if kernel in OURS:
        return "our scan"
    return next((group for piece, group in GROUPS.items() if piece in kernel), "other")


def kernel_shares(profile: pd.DataFrame) -> pd.DataFrame:
    """Share of the device's time by kind of kernel, a row a profiled step; kernels too short for the list are "not listed", so that a row sums to 1.

    >>> rows = pd.DataFrame({"item": "profile/mamba", "kernel": ["_forward", "_backward", "xmma_gemm"], "share": [0.25, 0.5, 0.125]})
    >>> kernel_shares(rows).loc["mamba"].to_dict()
    {'matrix products': 0.125, 'our scan': 0.75, 'not listed': 0.125}
    """
    frame = profile.assign(step=profile.item.str.removeprefix("profile/"), group=profile.kernel.map(group_of))
    shares = frame.pivot_table(index="step", columns="group", values="share", aggfunc="sum", fill_value=0.0)
    return shares.assign(**{"not listed": 1 - shares.sum(axis=1)}).rename_axis(columns=None)
