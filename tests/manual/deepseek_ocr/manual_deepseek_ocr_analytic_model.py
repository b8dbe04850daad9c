"""For a reviewer: the analytic layers by themselves, without torch.

python tests/manual/deepseek_ocr/manual_deepseek_ocr_analytic_model.py [workload]
"""

from __future__ import annotations

import sys

from mkdocs_dsocr.inputs import load_workload
from mkdocs_dsocr.layers import walk
from mkdocs_dsocr.layers.vision import Attention
from mkdocs_dsocr.models import build, load_model_config, plan
from mkdocs_dsocr.site import notation


def main(workload: str = "dsocr-standard-v1") -> int:
    config = load_model_config("deepseek-ocr-v1-base")
    resolved = plan(config, load_workload(workload))
    root = build(config, resolved)
    print(f"{workload}: {resolved.image_tokens} image tokens + {resolved.text_tokens} of text")
    print("\nLook at the whole model by ModelMeter's methods (TFLOPs, Tb, FLOPs a bit, GB):")
    for method in (
        "forward_tensor_core_flops",
        "forward_cuda_core_flops",
        "forward_cal_io",
        "forward_arithmetic_intensity",
        "forward_memory_weight",
        "forward_memory_activation",
        "forward_memory_kvcache",
    ):
        print(f"  {method:32} {getattr(root, method)():.6f}")
    print("\nLook at one layer's formulas, as its code states them:")
    attention = next(v.layer for v in walk(root) if isinstance(v.layer, Attention))
    values = attention.values()
    for operation in attention.symbolic().operations():
        flops = operation.matmul_flops
        if flops != 0:
            print(f"  {operation.name}: {notation.text(flops)}")
            print(f"  {'':{len(operation.name)}}  {notation.text(flops, values)}")
    assert "torch" not in sys.modules, "the analytic side must not import torch"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
