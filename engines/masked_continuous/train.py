"""Recipes of the pictures-by-sets networks: hide many places, say what they hold.

`mar`, after arXiv 2406.11838 and its README: one mask ratio a batch, from a normal of mean 1 and sd 0.25 cut to
[0.7, 1]; each hidden token is noised at MUL moments at once; loss = squared error of the noise + the bound that teaches
the variance. `draft` has a quarter of its parameters and the same recipe: it guesses ahead in `cspd`. `maskgit`, after
2202.04200: mask ratio cos(π/2 · u), cross-entropy of the hidden codes. All drop the caption of a tenth of the rows,
for guidance.

Differs: one ratio a batch for `maskgit` too (the encoder's rectangle). And, because these runs last minutes: a learning
rate that falls to zero instead of a constant one; Muon for the matrices of the transformer (on stand-in tokens, after
80 seconds of one thread, it found 21 % of objects where AdamW found 9 %); small batches (27 % at 16, 21 % at 32).
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.captions import dropped
from engines.masked_continuous.diffloss import STEPS, Schedule, losses, noised
from engines.masked_continuous.model import DRAFT, NET, TWIN, VAE, VQ, Mar, Masked, rows_at
from engines.masked_continuous.sampler import Rule, paint, paint_codes
from engines.tokenizers import cache as written
from engines.training import Recipe
from engines.worlds import judges

BATCH = 16
PLACES, CHANNELS, CODES, SLOTS = 64, 8, 512, 4
LEAST, SPREAD = 0.7, 0.25
MUL = 4
DROP = 0.1
SHAPE = {"length": PLACES, "slots": SLOTS, "classes": 0, "layers": [3, 2], "widths": [128, 128], "heads": [4, 4],
         "hidden": [512, 512]}
HEAD = [3, 128]
# A quarter of the parameters, two blocks of five: an evaluation must cost far less than one of `mar`.
SMALL = SHAPE | {"layers": [1, 1], "widths": [88, 88], "hidden": [352, 352]}
SMALL_HEAD = [2, 88]
RATE = 3e-3
JUDGED = 256
QUICK = Rule(sets=8, inner=12, tau=0.3)
GUIDANCE = (1.0, 2.0, 3.0)

FULL = Schedule()


def mostly(u: float, places: int = PLACES) -> int:
    """How many places `mar` hides for u in [0, 1): ceil(L · r), r ~ normal(1, SPREAD) cut to [LEAST, 1]."""
    low, high = (0.5 * (1 + math.erf(x / math.sqrt(2))) for x in ((LEAST - 1) / SPREAD, 0.0))
    at = torch.special.ndtri(torch.tensor(low + u * (high - low), dtype=torch.float64))
    return min(places, math.ceil(places * (1 + SPREAD * float(at))))


def cosine(u: float, places: int = PLACES) -> int:
    """How many places `maskgit` hides for u in [0, 1): ceil(L · cos(π/2 · u))."""
    return math.ceil(places * math.cos(math.pi / 2 * u))


def split(rows: int, hidden: int, generator: torch.Generator, places: int = PLACES) -> tuple[Tensor, Tensor]:
    """Random places of each row: (visible (B, L - hidden), hidden (B, hidden)) int64, each ascending."""
    order = torch.rand(rows, places, generator=generator).argsort(dim=1)
    return order[:, hidden:].sort(dim=1).values, order[:, :hidden].sort(dim=1).values


def mar_loss(network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean over the hidden tokens of MSE(eps) + bound; batch = latents (B, L, C), captions (B, 4, 4)."""
    net, (x, objects) = cast(Mar, network), batch
    count = mostly(torch.rand((), generator=generator).item(), x.shape[1])
    visible, hidden = (part.to(x.device) for part in split(len(x), count, generator, x.shape[1]))
    told = net.told(objects, dropped(len(x), DROP, generator).to(x.device))
    z = net(rows_at(x, visible), visible, *told, hidden).flatten(0, 1).repeat(MUL, 1)
    x_0 = rows_at(x, hidden).flatten(0, 1).repeat(MUL, 1)
    t = torch.randint(STEPS, (len(x_0),), generator=generator).to(x.device)
    eps = torch.randn(x_0.shape, generator=generator).to(x.device)
    mse, vb = losses(FULL, net.head(noised(FULL, x_0, t, eps), t, z), x_0, t, eps)
    return (mse + vb).mean(), len(x) / BATCH


def maskgit_loss(network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(code) over the hidden places, in nats; batch = codes (B, L), captions (B, 4, 4)."""
    net, (ids, objects) = cast(Masked, network), batch
    count = cosine(torch.rand((), generator=generator).item(), ids.shape[1])
    visible, hidden = (part.to(ids.device) for part in split(len(ids), count, generator, ids.shape[1]))
    told = net.told(objects, dropped(len(ids), DROP, generator).to(ids.device))
    logits = net(ids.gather(1, visible), visible, *told, hidden)
    return F.cross_entropy(logits.flatten(0, 1), ids.gather(1, hidden).flatten()), len(ids) / BATCH


def build_mar() -> Mar:
    return Mar(channels=CHANNELS, head=HEAD, **SHAPE)  # type: ignore[arg-type]


def build_draft() -> Mar:
    return Mar(channels=CHANNELS, head=SMALL_HEAD, **SMALL)  # type: ignore[arg-type]


def build_maskgit() -> Masked:
    return Masked(codes=CODES, **SHAPE)  # type: ignore[arg-type]


def latents(part: int) -> Iterator[tuple[Tensor, Tensor]]:
    return written.tokens(VAE, part, BATCH)


def codes(part: int) -> Iterator[tuple[Tensor, Tensor]]:
    return written.tokens(VQ, part, BATCH)


@cache
def _held_out(tokenizer: str, count: int) -> tuple[Tensor, Tensor]:
    return written.held_out(tokenizer, count)


def _read(images: Tensor, objects: Tensor) -> tuple[float, float]:
    """(percent of scenes wholly right, percent of objects right), as the scoring judge sees it."""
    score = judges.score(images, objects)
    there = objects[..., 0] >= 0
    return 100 * float(score.scene.float().mean()), 100 * float(score.right[there].float().mean())


@torch.inference_mode()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Held-out loss, and what the scoring judge finds right in pictures of held-out captions, percent.

    The best of GUIDANCE is chosen on a quarter of the captions and reported on all. Sets and inner steps are fewer than
    on the page: this is asked every few minutes of a training.
    """
    discrete = isinstance(network, Masked)
    tokenizer = VQ if discrete else VAE
    tokens, objects = _held_out(tokenizer, count)
    loss = maskgit_loss if discrete else mar_loss
    generator = torch.Generator().manual_seed(2406_11838)
    held = [loss(network, part, generator)[0].item() for part in zip(tokens.split(BATCH), objects.split(BATCH))]
    decoder = cast(Any, weights.load(tokenizer))

    def drawn(n: int, guidance: float) -> tuple[float, float]:
        rule = replace(QUICK, guidance=guidance)
        made = (paint_codes if discrete else paint)(cast(Any, network), objects[:n], range(n), rule)
        return _read(decoder.decode(made), objects[:n])

    guidance = max(GUIDANCE, key=lambda w: drawn(count // 4, w))
    scenes, right = drawn(count, guidance)
    return {"nll" if discrete else "loss": sum(held) / len(held), "objects": right, "scenes": scenes,
            "guidance": guidance, "captions": count}


RECIPES = {
    NET: Recipe(NET, build_mar, latents, mar_loss, judge, steps=6_000, learning_rate=RATE, muon=True,
                after=("tokenizers/vae", "scenes/judge_scoring")),
    DRAFT: Recipe(DRAFT, build_draft, latents, mar_loss, judge, steps=6_000, learning_rate=RATE, muon=True,
                  after=("tokenizers/vae", "scenes/judge_scoring")),
    TWIN: Recipe(TWIN, build_maskgit, codes, maskgit_loss, judge, steps=6_000, learning_rate=RATE, muon=True,
                 after=("tokenizers/vq", "scenes/judge_scoring")),
}
