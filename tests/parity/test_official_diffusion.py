"""Masked diffusion against recordings of official modules: RADD, SEDD, MDLM, and the samplers of LLaDA and Fast-dLLM.

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); two cases are in
the tree. Official draws are argmax(p / g) with g = -log u of recorded u, so a Noise that draws like that is handed in.
LLaDA's own network is written out here: what is under test are our loops, sessions and caches, which it runs through.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.discrete_diffusion import losses, rules
from engines.discrete_diffusion.answers import alone, together
from engines.discrete_diffusion.claims import PLAIN, quiet
from engines.discrete_diffusion.model import Session
from engines.discrete_diffusion.official import DERIVED, OFFICIAL_KEYS, from_official
from engines.discrete_diffusion.page import Page
from engines.discrete_diffusion.radd import analytic, expected_nfe, reverse, scaled_score, sigma_bar
from engines.discrete_diffusion.unmask import unmask
from engines.events import Commit, Forward, expand
from engines.noise import Draw, Noise
from engines.runtime import Net
from engines.worlds.stories import HIDDEN

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings")
HERE = [name for name in ("radd", "sedd", "mdlm") if (FOLDER / name).exists()]


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    folder = FOLDER / name
    config = json.loads((folder / "config.json").read_text())
    return config, load_file(folder / "io.safetensors"), load_file(folder / "weights.safetensors")


def near(ours: Any, theirs: Tensor) -> None:
    ours = torch.as_tensor(ours)
    assert ours.shape == theirs.shape
    if not theirs.is_floating_point():
        assert torch.equal(ours.to(theirs.dtype), theirs)
        return
    inside = theirs.isfinite()
    assert torch.equal(ours.isfinite(), inside)
    gap = (ours[inside].double() - theirs[inside].double()).abs().max().item()
    assert gap <= 1e-4 * max(1.0, theirs[inside].abs().max().item()), gap


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def network_of(name: str):
    config, io, weights = read(name)
    return config, io, from_official(weights, config["model_config"]["model"]["n_heads"], config["L"])


@pytest.mark.parametrize("name", HERE)
def test_every_official_tensor_has_a_place_of_its_own(name):
    _, _, weights = read(name)
    known = {key.replace("#", str(i)) for key in OFFICIAL_KEYS for i in range(9)}
    assert set(weights) - DERIVED <= known
    _, _, network = network_of(name)
    assert len(network.state_dict()) == len(set(weights) - DERIVED)


@pytest.mark.parametrize("name", HERE)
def test_the_network_and_each_block(name):
    config, io, network = network_of(name)
    x = io["x" if name == "radd" else "in.x"]
    sigma = {"radd": None, "sedd": io.get("sigma"), "mdlm": torch.zeros(len(x))}[name]
    outs: list[Tensor] = []
    answer = network.answer
    network.answer = lambda *a: outs.append(answer(*a)) or outs[-1]
    raw = network(x, sigma)
    for i, out in enumerate(outs):
        near(out, io[f"block.{i}"])
    if name == "radd":
        near(raw, io["logits"])
        near(network.log_q(x), io["log_prob"][..., :-1])
    elif name == "mdlm":
        near(raw, io["logits"])
        near(network(x, io["sigma"]), io["logits_time_conditioned"])
    else:
        t, mask = io["in.t"], network.mask
        score = losses.sedd_score(raw, t).masked_fill((x != mask)[..., None], 0.0)
        theirs = io["log_score"][..., :-1].masked_fill((x != mask)[..., None], 0.0)
        near(score, theirs)
    told = None if sigma is None else sigma.tolist()
    near(network.session()(x.tolist(), sigma=told), raw[..., :-1])


def test_radd_losses():
    _, io, network = network_of("radd")
    x_0, chance, mask = io["in.x0"], io["in.lambda"], network.mask
    t = (1 - losses.EPS) * chance + losses.EPS  # the recorded number is officially mapped onto [EPS, 1]
    at = {"t_DSE": (1 - losses.EPS) * t, "t_DCE": (1 - losses.EPS) * t, "lambda_DCE": chance}
    x_t = {name: losses.masked_by(x_0, p, io[f"loss.{name}.uniform"], mask) for name, p in at.items()}
    q = {name: network.log_q(x) for name, x in x_t.items()}
    missed = {name: losses.misses(q[name], x_0, x_t[name], mask) for name in at}
    for name in at:
        near(x_t[name], io[f"loss.{name}.x_masked"])
    near(losses.t_dse(losses.radd_score(q["t_DSE"], t), x_0, x_t["t_DSE"], t, mask), io["loss.t_DSE"])
    near(losses.t_dce(missed["t_DCE"], t) + losses.score_offset(x_t["t_DCE"], t, mask), io["loss.t_DCE"])
    near(losses.lambda_dce(missed["lambda_DCE"], chance), io["loss.lambda_DCE"])


class Recorded(Noise):
    """One row's recorded uniforms, one table a step: (masked cells of all rows, values), or (rows, cells, values)."""

    def __init__(self, tables: list[Tensor], row: int, rows: int):
        super().__init__(0)
        self.tables, self.row, self.rows, self.step = tables, row, rows, 0

    def draw(self, stream: str, cells: list[int], p: np.ndarray) -> list[Draw]:
        table = self.tables[self.step].double()
        self.step += 1
        if table.dim() == 3:
            u = table[self.row, cells]
        else:  # the rows before this one come first
            u = table[: len(cells)] if self.row == 0 else table[-len(cells) :]
        g = 1e-10 - (u + 1e-10).log()
        x = (torch.from_numpy(p)[:, : u.shape[1]] / g).argmax(-1).tolist()
        return [Draw(v, float(row[v])) for v, row in zip(x, p, strict=True)]


def pages(rows: int, cells: int, words: int) -> list[Page]:
    return [Page([HIDDEN] * cells, cells, [], tuple(str(v) for v in range(words))) for _ in range(rows)]


def settings(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(**PLAIN | {"order": "diffusion", "cache": True, "top_k": 0} | more)


def test_radds_sampler_word_by_word_and_its_evaluations():
    config, io, network = network_of("radd")
    steps, rows, cells = config["steps"], config["B"], config["L"]
    t = rules.times(steps)
    near(torch.from_numpy(1 - t[1:-1] / t[:-2]).float(), io["sample.update_rate"][:-1])
    tables = [io[f"sample.{k}.uniform"] for k in range(steps)]
    filled = pages(rows, cells, network.vocab)
    loops = [reverse(page, settings(steps=steps), Recorded(tables, b, rows), quiet()) for b, page in enumerate(filled)]
    traces = together(loops, network.session())
    near(torch.tensor([page.x for page in filled]), io["sample.x"])
    evaluations = sum(isinstance(e, Forward) for events in traces for e in events)
    assert evaluations == int(io["sample.update_cnt"]) < rows * steps
    assert evaluations / rows == pytest.approx(expected_nfe(steps, cells), abs=2)


@pytest.mark.parametrize("name", [n for n in HERE if n == "sedd"])
def test_sedds_score_entropy_and_its_analytic_sampler(name):
    config, io, network = network_of(name)
    t, x, mask = io["in.t"], io["in.x"], network.mask
    near(losses.log_linear(t)[0], io["sigma"])
    near(losses.log_linear(t)[1], io["dsigma"])
    score = losses.sedd_score(network(x, io["sigma"]), t)
    near(losses.t_dse(score, io["in.x0"], x, t, mask), io["loss"])
    session, used = network.session(), io["analytic.t_used"][:, 0].tolist()
    for b, at in enumerate(used):
        hidden = (x[b] == mask).nonzero()[:, 0].tolist()
        z = session([x[b].tolist()], hidden, sigma=[sigma_bar(at)])[0].numpy()
        r, q = analytic(scaled_score(z, sigma_bar(at)), at, at - config["step"])
        near((r[:, None] * q).astype(np.float32), io["analytic.probs"][b, hidden, :-1])
    steps, rows, cells = config["steps"], config["B"], config["L"]
    tables = [*io["sample.uniform"], io["sample.uniform_denoise"]]
    near(torch.tensor(walk(network, tables, rows, cells, steps)), io["sample.x"])


def walk(network: Any, tables: list[Tensor], rows: int, cells: int, steps: int) -> list[list[int]]:
    """SEDD's official loop: `steps` analytic steps, then the denoising step at the last time; one row at a time."""
    session, out = network.session(), []
    for b in range(rows):
        x, t = [network.mask] * cells, rules.times(steps)
        noise = Recorded(tables, b, rows)
        for k in range(steps + 1):
            hidden = [c for c in range(cells) if x[c] == network.mask]
            z = session([x], hidden, sigma=[sigma_bar(t[k])])[0].numpy() if hidden else np.zeros((0, network.vocab))
            r, q = analytic(scaled_score(z, sigma_bar(t[k])), t[k], None if k == steps else t[k + 1])
            drawn = rules.opened(noise, hidden, q, r) if hidden else ([], [])
            for i, draw in zip(*drawn, strict=True):
                x[hidden[i]] = draw.index
        out.append(x)
    return out


@pytest.mark.parametrize("name", [n for n in HERE if n == "mdlm"])
def test_mdlms_update_step_by_step_and_what_its_cache_would_save(name):
    config, io, network = network_of(name)
    t, x, mask = io["in.t"], io["in.x"], network.mask
    q = network.log_q(x, torch.zeros(len(x)))
    clean = F.one_hot(x.clamp(max=mask - 1), mask).float()
    near(torch.where((x == mask)[..., None], q.exp(), clean), io["log_p_x0"][..., :-1].exp())
    missed = losses.misses(q, io["in.x0"], x, mask)
    near(missed * io["nelbo_weight"][:, None], io["loss"])
    near(1 / t, io["nelbo_weight"])
    seen, times = io["sample.ddpm.x_at_forward"], rules.times(config["steps"])
    session, asked = network.session(), 1
    for k in range(config["steps"]):
        for b in range(config["B"]):
            row = seen[k, b].tolist()
            hidden = [c for c in range(config["L"]) if row[c] == mask]
            if not hidden:
                continue
            z = session([row], hidden, sigma=[0.0])[0].double()
            r = np.full(len(hidden), 1 - times[k + 1] / times[k])
            rows, drawn = rules.opened(Recorded([io["sample.uniform"][k]], b, 2), hidden, z.softmax(-1).numpy(), r)
            for i, draw in zip(rows, drawn, strict=True):
                row[hidden[i]] = draw.index
            assert row == seen[k + 1, b].tolist()
        asked += not torch.equal(seen[k], seen[k + 1])
    assert asked == int(io["sample.ddpm_cache.nfe"]) < int(io["sample.ddpm.nfe"])


# LLaDA and Fast-dLLM ------------------------------------------------------------------------------------


class Llada(nn.Module):
    """The official LLaDA layout at the recording's size, with the parts that our `Session` calls.

    The mask is a word of the recording (63), so it is translated: our mask stands behind all words.
    """

    def __init__(self, config: dict[str, Any], state: dict[str, Tensor], length: int):
        super().__init__()
        c = config["model_config"]
        self.state = {key.removeprefix("model.transformer."): value for key, value in state.items()}
        self.heads, self.eps, self.told = c["n_heads"], c["rms_norm_eps"], 0
        self.blocks = list(range(c["n_layers"]))
        self.mask, self.length, self.theirs = c["embedding_size"], length, config["mask_id"]
        self.config = {"layers": c["n_layers"], "heads": c["n_heads"], "width": c["d_model"]}
        size = c["d_model"] // c["n_heads"]
        rate = c["rope_theta"] ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
        angle = torch.arange(length, dtype=torch.float32)[:, None] * rate
        self.turn = torch.stack([angle.cos(), angle.sin()], dim=1)

    def clock(self, sigma: Any) -> None:
        return None

    def enter(self, ids: Tensor) -> Tensor:
        return F.embedding(torch.where(ids == self.mask, self.theirs, ids), self.state["wte.weight"])

    def norm(self, x: Tensor, key: str) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.state[key]

    def ask(self, depth: int, x: Tensor, turn: Tensor, told: None) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.norm(x, f"blocks.{depth}.attn_norm.weight")
        q, k, v = (F.linear(seen, self.state[f"blocks.{depth}.{n}_proj.weight"]).unflatten(-1, (self.heads, -1))
                   .transpose(1, 2) for n in "qkv")
        return turned(q, turn), turned(k, turn), v

    def answer(self, depth: int, x: Tensor, heard: Tensor, told: None) -> Tensor:
        w = {n: self.state[f"blocks.{depth}.{n}.weight"] for n in ("attn_out", "ff_proj", "up_proj", "ff_out")}
        x = x + F.linear(heard.transpose(1, 2).flatten(2), w["attn_out"])
        seen = self.norm(x, f"blocks.{depth}.ff_norm.weight")
        return x + F.linear(F.silu(F.linear(seen, w["ff_proj"])) * F.linear(seen, w["up_proj"]), w["ff_out"])

    def leave(self, x: Tensor, told: None) -> Tensor:
        out = F.linear(self.norm(x, "ln_f.weight"), self.state["ff_out.weight"])
        return F.pad(out, (0, 1))


def turned(x: Tensor, turn: Tensor) -> Tensor:
    cos, sin = turn[:, 0], turn[:, 1]
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


@pytest.fixture(scope="module")
def llada():
    config, io, state = read("llada")
    return config, io, Llada(config, state, config["prompt_len"] + config["gen_length"])


RULES = {
    "llada": {}, "llada_one_per_step": {"steps": 16}, "llada_cfg": {"guidance": 1.0}, "fast": {},
    "fast_prefix": {"cache": "prefix"}, "fast_dual": {"cache": "dual"},
    "fast_thr": {"amount": "threshold"}, "fast_prefix_thr": {"amount": "threshold", "cache": "prefix"},
    "fast_dual_thr": {"amount": "threshold", "cache": "dual"},
}


def test_lladas_network_as_written_here(llada):
    config, io, net = llada
    rows = torch.where(io["in.masked"] == config["mask_id"], net.mask, io["in.masked"])
    near(Session(net)(rows.tolist()), io["logits"])


@pytest.mark.parametrize("name", list(RULES))
def test_words_order_calls_and_cached_tokens_of_a_published_sampler(llada, name):
    config, io, net = llada
    given, cells = config["prompt_len"], config["prompt_len"] + config["gen_length"]
    words = tuple(str(v) for v in range(net.mask))
    page = Page(io["in.prompt"][0].tolist() + [HIDDEN] * config["gen_length"], cells, list(range(given)), words)
    s = SimpleNamespace(**PLAIN | {"order": "confidence", "temperature": 0.0, "block": config["block_length"],
                                   "steps": config["steps"], "tau": config["threshold"]} | RULES[name])
    order, fed, call = {}, [], -1
    meter = quiet()
    for event in alone(unmask(page, s, Noise(0), meter), Net("llada", Session(net), meter)):
        if isinstance(event, Forward):
            call += 1
            fed.append(len(expand(event.computes)))
            assert event.nfe == event.calls * (2 if "guidance" in RULES[name] else 1)
        elif isinstance(event, Commit):
            order.update(dict.fromkeys(event.cells, call))
    near(torch.tensor([page.x]), io[f"{name}.ids"])
    near(torch.tensor([order[c] for c in range(given, cells)]), io[f"{name}.order"])
    near(torch.tensor([call + 1]), io[f"{name}.nfe"])
    near(torch.tensor(fed), io[f"{name}.tokens_per_call"])
