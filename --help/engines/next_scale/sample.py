"""Drawing codes from a next-scale network: guidance, filters, and a plain sampler of many pictures at once.

The lane in `var.py` takes the same steps one by one and tells of each; this sampler is for judging and claims.
Symbols as in `model.py`; t is the strength of guidance, ℓ are logits, f_hat is the sum of what all scales added.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.noise import Noise

TOKENIZER = "tokenizers/scales"
NET = "next_scale/var"
# How pictures are drawn unless somebody asks otherwise: on the page, by the judge, in claims. top-p is the paper's.
DEFAULTS: dict[str, Any] = {"guidance": 1.5, "ramp": True, "top_k": 0, "top_p": 0.96, "temperature": 1.0}
# k, probabilities (B, n, V) float64 -> codes (B, n): where chance comes in.
Draw = Callable[[int, Tensor], Tensor]


def canvases(tokenizer: Any, ids: Tensor) -> Tensor:
    """What the network is shown of pictures with codes (B, L): the canvas of every scale but the first, (B, L - 1, C).

    Source: arXiv 2404.02905, algorithm 2 (teacher forcing). The last scale's codes change nothing.
    """
    f_hat, shown = tokenizer.zero(len(ids)), []
    for k, r_k in enumerate(ids.split([p * p for p in tokenizer.scales], dim=1)):
        if k:
            shown.append(tokenizer.canvas(f_hat, k))
        if k + 1 < len(tokenizer.scales):
            f_hat = tokenizer.add(f_hat, k, r_k)
    return torch.cat(shown, dim=1)


def strength(k: int, scales: int, guidance: float, ramp: bool) -> float:
    """t at scale k: from 0 at the first scale to `guidance` at the last, as in the official sampler; else constant."""
    return guidance * k / max(scales - 1, 1) if ramp else guidance


def guide(logits: Tensor, t: float) -> Tensor:
    """(1 + t) ℓ_caption - t ℓ_null for logits (2B, …), captions first; (B, …). At t = 0 the captioned half itself."""
    captioned, null = logits.chunk(2)
    return captioned if t == 0 else (1 + t) * captioned - t * null


def filtered(logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Probabilities (…, V), float64, after temperature, top-k (ties stay) and top-p on what top-k left.

    Off: top_k 0, top_p 1. top-p drops the smallest while their mass is at most 1 - top_p, never the largest.
    """
    z = logits.double() / temperature
    if 0 < top_k < z.shape[-1]:
        z = z.masked_fill(z < z.topk(top_k).values[..., -1:], -torch.inf)
    p = z.softmax(-1)
    if top_p < 1:
        rising, order = p.sort(dim=-1)
        drop = rising.cumsum(-1) <= 1 - top_p
        drop[..., -1] = False
        p = p.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), 0)
        p = p / p.sum(-1, keepdim=True)
    return p


def keyed(seeds: Sequence[int], scales: Sequence[int]) -> Draw:
    """Row b draws with the numbers that a lane with seed seeds[b] would take: inverse CDF, one number a cell."""
    ends = np.cumsum([p * p for p in scales]).tolist()
    cells = list(range(ends[-1]))
    u = torch.from_numpy(np.stack([Noise(int(seed)).uniform("token", cells) for seed in seeds]))

    def draw(k: int, p: Tensor) -> Tensor:
        cdf = p.cumsum(-1)
        stop = ends[k]
        wanted = u[:, stop - p.shape[1] : stop, None] * cdf[..., -1:]
        last = p.shape[-1] - 1 - (p > 0).flip(-1).to(torch.uint8).argmax(-1)
        return torch.searchsorted(cdf, wanted, right=True)[..., 0].minimum(last)

    return draw


@torch.inference_mode()
def sample(
    network: Any,
    tokenizer: Any,
    captions: Tensor,
    draw: Draw,
    *,
    guidance: float = DEFAULTS["guidance"],
    ramp: bool = DEFAULTS["ramp"],
    top_k: int = DEFAULTS["top_k"],
    top_p: float = DEFAULTS["top_p"],
    temperature: float = DEFAULTS["temperature"],
) -> tuple[list[Tensor], Tensor]:
    """Pictures for captions (B, 4, 4) (or labels (B,)): codes r_k (B, p_k²) of each scale, and f_hat (B, C, s, s).

    One call a scale for all rows; without guidance the null half is not computed.
    """
    rows, pairs = len(captions), 2 if guidance else 1
    session = network.session(pairs * rows)
    both = captions.repeat(pairs, *[1] * (captions.dim() - 1))
    keep = torch.arange(pairs * rows) < rows
    f_hat, ids = tokenizer.zero(rows), []
    for k in range(len(tokenizer.scales)):
        canvas = tokenizer.canvas(f_hat, k).repeat(pairs, 1, 1)
        logits = session(k, canvas, both, keep)
        if pairs == 2:
            logits = guide(logits, strength(k, len(tokenizer.scales), guidance, ramp))
        ids.append(draw(k, filtered(logits, temperature, top_k, top_p)))
        f_hat = tokenizer.add(f_hat, k, ids[-1])
    return ids, f_hat


def paint(network: Any, tokenizer: Any, captions: Tensor, seeds: Sequence[int], batch: int = 64, **how: Any) -> Tensor:
    """Pictures (N, 3, S, S) in [-1, 1] for captions (N, 4, 4), `batch` at a time; row i takes seeds[i]'s numbers."""
    made = []
    for start in range(0, len(captions), batch):
        some = slice(start, start + batch)
        draw = keyed(seeds[some], tokenizer.scales)
        with torch.inference_mode():
            made.append(tokenizer.decode(sample(network, tokenizer, captions[some], draw, **how)[1]))
    return torch.cat(made)
