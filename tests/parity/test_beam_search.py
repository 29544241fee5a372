"""Beam search against `generate` of transformers, on the same tiny random network: the same texts, the same scores."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engines.next_token.beam import beam, best
from engines.noise import Noise
from engines.runtime import Meter
from engines.worlds import stories
from engines.worlds.stories import BOS, END, PAD

VOCAB = 12  # few words, so that END is met now and then


def tiny(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=80, initializer_range=0.6, bos_token_id=BOS,
                         eos_token_id=END, pad_token_id=PAD)
    return LlamaForCausalLM(config).double().eval()


class Session:
    """The network as the lane calls it."""

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, net: LlamaForCausalLM):
        self.net = net

    def beams(self, width: int) -> Session:
        return self

    def __call__(self, texts: list[list[int]]) -> np.ndarray:
        return self.net(torch.tensor(texts)).logits[:, -1].numpy()


def ours(net: LlamaForCausalLM, beams: int, choose=best) -> list[tuple[list[int], float]]:
    steps = beam(SimpleNamespace(words="", given=0, beams=beams), Noise(0),
                 Meter(lambda _: Session(net), quiet=True), choose)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return [([stories.VOCAB.index(w) for w in s["text"]], s["log_prob"]) for s in stop.value["stories"]]


def theirs(net: LlamaForCausalLM, beams: int) -> list[tuple[list[int], float]]:
    out = net.generate(torch.tensor([[BOS]]), num_beams=beams, num_return_sequences=beams, do_sample=False,
                       length_penalty=0.0, early_stopping=False, max_length=stories.LENGTH + 1,
                       return_dict_in_generate=True, output_scores=True)
    texts = [row[1:].tolist() for row in out.sequences]
    return [(t[: t.index(END) + 1] if END in t else t, float(s))
            for t, s in zip(texts, out.sequences_scores, strict=True)]


@pytest.mark.parametrize("beams", [2, 4, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_texts_and_scores_as_transformers(seed, beams):
    net = tiny(seed)
    mine, want = ours(net, beams), theirs(net, beams)
    assert [text for text, _ in mine] == [text for text, _ in want]
    np.testing.assert_allclose([s for _, s in mine], [s for _, s in want], rtol=1e-6)


def test_a_search_that_forgets_the_second_best_is_noticed():
    def broken(scores, n):
        order = best(scores, n)
        return np.delete(order, 1) if len(order) > 2 else order

    assert any(ours(tiny(seed), 4, broken) != theirs(tiny(seed), 4) for seed in range(3))
