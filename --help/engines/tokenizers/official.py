"""Key for key: what the official tokenizers call the tensors that we have, so that their checkpoints can be read.

Sources: FoundationVision/VAR `models/{vqvae,basic_vae,quant}.py`; FoundationVision/LlamaGen
`tokenizer/tokenizer_image/vq_model.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# The deepest level is the last one downwards and the first one upwards; LlamaGen counts its decoder like ours, VAR
# counts by resolution, so its upward indices are turned around (`~`).
_BLOCK = [(r"\.nin_shortcut\.", ".skip."), (r"\.proj_out\.", ".out."), (r"^quant_conv\.", "before."),
          (r"^post_quant_conv\.", "after."), (r"\.conv_in\.", ".into."), (r"\.conv_out\.", ".out."),
          (r"\.norm_out\.", ".norm.")]
VAR = [
    *_BLOCK,
    (r"^encoder\.down\.(\d+)\.block\.", r"encoder.levels.\1.blocks."),
    (r"^encoder\.down\.(\d+)\.attn\.", r"encoder.levels.\1.attention."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.levels.\1."),
    (r"^decoder\.up\.(\d+)\.block\.", r"decoder.levels.~\1.blocks."),
    (r"^decoder\.up\.(\d+)\.attn\.", r"decoder.levels.~\1.attention."),
    (r"^decoder\.up\.(\d+)\.upsample\.", r"decoder.levels.~\1."),
    (r"\.mid\.block_1\.", ".middle.0."), (r"\.mid\.attn_1\.", ".middle.1."), (r"\.mid\.block_2\.", ".middle.2."),
    (r"^quantize\.embedding\.weight$", "codes.weight"),
    (r"^quantize\.quant_resi\.qresi_ls\.(\d+)\.", r"phi.\1."), (r"^quantize\.quant_resi\.qresi\.", "phi.0."),
    (r"^quantize\.quant_resi\.(\d+)\.", r"phi.\1."),
]
LLAMAGEN = [
    *_BLOCK,
    (r"\.conv_blocks\.(\d+)\.res\.", r".levels.\1.blocks."),
    (r"\.conv_blocks\.(\d+)\.attn\.", r".levels.\1.attention."),
    (r"\.conv_blocks\.(\d+)\.(?:down|up)sample\.", r".levels.\1."),
    (r"\.mid\.(\d)\.", r".middle.\1."),
    (r"^quantize\.embedding\.weight$", "codes.weight"),
]
# Statistics of their training that say nothing about the function.
UNUSED = ("quantize.ema_vocab_hit_SV", "quantize.codebook_used")


def renamed(official: Mapping[str, Tensor], table: list[tuple[str, str]], levels: int) -> dict[str, Tensor]:
    """An official state dict under our names; separate q, k, v become one."""
    out: dict[str, Tensor] = {}
    for key, value in official.items():
        if key in UNUSED:
            continue
        for pattern, name in table:
            key = re.sub(pattern, name, key)
        out[re.sub(r"~(\d+)", lambda found: str(levels - 1 - int(found[1])), key)] = value
    for key in [key for key in out if re.search(r"\.q\.(weight|bias)$", key)]:
        parts = [out.pop(re.sub(r"\.q\.(\w+)$", rf".{part}.\1", key)) for part in "qkv"]
        out[re.sub(r"\.q\.(\w+)$", r".qkv.\1", key)] = torch.cat(parts)
    return out
