"""Public checkpoints against `transformers`: tiny random nets, saved in the Hub's layout and loaded by our own code.

A small server on this machine answers like the Hub does, so that the real client is used for what it is trusted with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from engines import catalog, runtime, weights
from engines import events as ev
from engines.__main__ import main
from engines.errors import BadWeights, Refused, Unreachable
from engines.next_token import checkpoints, exhibits, page, public

VOCAB = 300
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KINDS: dict[str, Any] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_positions=80, n_embd=48, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=80, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0}, tie_word_embeddings=False)),
    "llama, tied, all heads": lambda: LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=80, bos_token_id=0, eos_token_id=0, tie_word_embeddings=True)),
}


def tokenizer() -> Tokenizer:
    """Byte-level pieces of a few sentences; id 0 is the end."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(["once, in a small harbour town, a fox kept a brass bell."] * 3, trainer)
    return made


def save(folder: Path, kind: str, seed: int = 0) -> Any:
    """A random net in the Hub's layout, and the net itself. Its numbers are large enough to tell words apart."""
    torch.manual_seed(seed)
    net = KINDS[kind]().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    net.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return net


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request, tmp_path_factory) -> tuple[Path, Any, checkpoints.Checkpoint]:
    """(folder, transformers' net, our reading of it)."""
    folder = tmp_path_factory.mktemp("net")
    net = save(folder, request.param)
    return folder, net, checkpoints.load(str(folder))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    save(folder, "gpt2")
    return folder


@pytest.fixture
def offers(monkeypatch):
    """What is offered in a test is gone after it."""
    monkeypatch.setattr(page, "VOICES", dict(page.VOICES))
    monkeypatch.setattr(weights, "_guests", {})
    before = dict(catalog.EXHIBITS)
    yield
    catalog.EXHIBITS.clear()
    catalog.EXHIBITS.update(before)


def ids(count: int, seed: int = 1) -> list[int]:
    return [0, *torch.randint(1, VOCAB, (count - 1,), generator=torch.Generator().manual_seed(seed)).tolist()]


# the same network ---------------------------------------------------------------------------------------


def test_logits_are_those_of_transformers_whole_stepwise_and_rolled_back(pair):
    _, net, checkpoint = pair
    text = ids(60)
    with torch.no_grad():
        wanted = net(torch.tensor([text])).logits[0]
    session = checkpoint.network.session()
    close = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(session(text, 60), wanted, **close)
    session.reset()
    session(text[:7], 1)
    for stop in range(8, 30):
        torch.testing.assert_close(session(text[:stop], 1), wanted[stop - 1 : stop], **close)
        assert session.last == {"reads": list(range(stop - 1)), "computes": [stop - 1]}
    # drafts that were refused: another way from the middle on, several positions at once, and back again
    other = [*text[:12], *ids(9, seed=5)]
    with torch.no_grad():
        elsewhere = net(torch.tensor([other])).logits[0]
    torch.testing.assert_close(session(other, 5), elsewhere[-5:], **close)
    assert session.last["reads"] == list(range(12))
    torch.testing.assert_close(session(text[:20], 3), wanted[17:20], **close)


def test_greedy_text_is_what_transformers_generates(pair, offers):
    folder, net, checkpoint = pair
    name = checkpoints.offer(str(folder))
    settings = {"text": name, "words": "once, in a small", "temperature": 0, "top_p": 1.0}
    for slug, lane, more in (("next-token", "filtered", {}), ("speculative", "speculative", {"draft": "copy"})):
        events = list(runtime.run(slug, settings | more, seed=3, lanes=[lane]))
        ev.check(events)
        assert isinstance(events[-1], ev.Done), events[-1]
        assert "valid" not in events[-1].summary
        assert not any("truth" in (getattr(e, "dists", None) or {}) for e in events)
        written = {c: v for e in events if isinstance(e, ev.Commit) for c, v in zip(ev.expand(e.cells), e.values)}
        prompt = [checkpoint.text.begin, *checkpoint.text.encode(settings["words"])]
        out = net.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                           do_sample=False, max_length=checkpoint.text.length + 1, pad_token_id=0)[0].tolist()
        assert [v for _, v in sorted(written.items())] == [checkpoint.text.words[i] for i in out[len(prompt) :]]


def test_beam_search_finds_what_transformers_finds(pair, offers):
    folder, net, checkpoint = pair
    settings = {"text": checkpoints.offer(str(folder)), "words": "once, in a small", "beams": 3}
    events = list(runtime.run("next-token", settings, seed=3, lanes=["beam"]))
    ev.check(events)
    prompt = [checkpoint.text.begin, *checkpoint.text.encode(settings["words"])]
    length = checkpoint.text.length + 1
    out = net.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), num_beams=3,
                       num_return_sequences=3, do_sample=False, length_penalty=0.0, early_stopping=False,
                       max_length=length, pad_token_id=0, return_dict_in_generate=True, output_scores=True)
    found = events[-1].summary["stories"]
    words = checkpoint.text.words
    assert [s["text"][len(prompt) - 1 :] for s in found] == [[words[i] for i in row] for row in
                                                            out.sequences[:, len(prompt) :].tolist()]
    assert [s["log_prob"] for s in found] == pytest.approx(out.sequences_scores.tolist(), abs=1e-3)


def test_a_network_that_leaves_something_out_is_seen(pair, monkeypatch):
    """Broken twins: no position, one norm too many, another gate. The comparison above must not pass with them."""
    _, net, checkpoint = pair
    text = ids(20)
    with torch.no_grad():
        wanted = net(torch.tensor([text])).logits[0]
    session = checkpoint.network.session()
    whole = session(text, 20)
    assert (whole - wanted).abs().max() < 1e-4
    monkeypatch.setattr(public, "rotate", lambda x, turn: x)
    monkeypatch.setattr(public.F, "gelu", lambda x, approximate: torch.relu(x))
    session.reset()
    assert (session(text, 20) - wanted).abs().max() > 1e-2


# drafts, names, traces ----------------------------------------------------------------------------------


def test_a_smaller_one_of_the_same_tokens_guesses_and_others_are_refused(gpt2, tmp_path, offers):
    save(tmp_path / "small", "gpt2", seed=2)
    name = checkpoints.offer(str(gpt2), str(tmp_path / "small"))
    events = list(runtime.run("speculative", {"text": name}, seed=1))
    ev.check(events)
    begin = next(e for e in events if isinstance(e, ev.Begin) and e.lane == "speculative")
    assert [n["role"] for n in begin.nets] == ["target", "draft"] and begin.canvases[0]["spaced"] is True
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "small", other)
    raw = json.loads((other / "tokenizer.json").read_text())
    swap = {"o": "e", "e": "o"}
    raw["model"]["vocab"] = {swap.get(k, k): v for k, v in raw["model"]["vocab"].items()}
    (other / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(Refused, match="other tokens"):
        checkpoints.offer(str(gpt2), str(other))


@pytest.mark.parametrize("draft", ["net", "bigram"])
def test_who_cannot_guess_for_it_is_refused_by_name(gpt2, offers, draft):
    name = checkpoints.offer(str(gpt2))
    with pytest.raises(Refused, match="this text") as caught:
        list(runtime.run("speculative", {"text": name, "draft": draft}))
    assert caught.value.field == "draft"


def test_the_command_line_writes_a_trace_that_names_the_network_by_commit(gpt2, hub, capsys, offers):
    hub.holds("org/tiny", gpt2)
    assert main(["run", "next-token", "--checkpoint", "hub:org/tiny", "--seed", "4"]) == 0
    head, events = ev.read_trace(capsys.readouterr().out)
    name = f"hub:org/tiny@{COMMIT}"
    assert head["settings"]["text"] == name and list(head["models"]) == [name]
    assert head["models"][name] == checkpoints.load(str(gpt2)).sha256
    assert events[-1].kind == "done"
    asked = len(hub.asked)
    assert main(["run", "next-token", "--checkpoint", name, "--seed", "4"]) == 0
    again, _ = ev.read_trace(capsys.readouterr().out)
    assert again["digest"] == head["digest"] and len(hub.asked) == asked, "a commit in the cache needs no network"


@pytest.mark.parametrize(("argv", "said"), [
    (["run", "assd", "--checkpoint", "hub:org/tiny"], "goes with next-token and speculative"),
    (["run", "next-token", "--draft", "hub:org/tiny"], "name that too"),
    (["run", "next-token", "--checkpoint", "gpt2"], "neither hub:ORG/NAME nor a folder"),
    (["run", "next-token", "--checkpoint", "hub:gpt2"], "neither hub:ORG/NAME nor a folder"),
    (["run", "next-token", "--checkpoint", "hub:../../etc"], "neither hub:ORG/NAME nor a folder"),
])
def test_what_makes_no_sense_is_one_line(argv, said, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


# the Hub ------------------------------------------------------------------------------------------------


class Hub:
    """Answers like the Hub for the repositories that it was given: {name: folder}."""

    def __init__(self) -> None:
        self.repos: dict[str, Path] = {}
        self.claims: dict[str, int] = {}
        self.asked: list[str] = []
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self, body: bool = True) -> None:
                hub.asked.append(self.path)
                status, headers, data = hub.answer(self.path.split("?")[0])
                self.send_response(status)
                for key, value in (headers | {"Content-Length": str(len(data))}).items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def do_HEAD(self) -> None:
                self.do_GET(body=False)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def holds(self, name: str, folder: Path, **claims: int) -> None:
        self.repos[name], self.claims = folder, claims

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for name, folder in self.repos.items():
            files = {f.name: f.read_bytes() for f in folder.iterdir()}
            if path.startswith(f"/api/models/{name}"):
                if "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", COMMIT):
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
                siblings = [{"rfilename": n, "size": self.claims.get(n, len(d))} for n, d in files.items()]
                return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
            if path.startswith(f"/{name}/resolve/"):
                data = files[path.rsplit("/", 1)[1]]
                tag = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                return 200, tag, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    from huggingface_hub import constants, file_download, hf_api  # noqa: PLC0415 - its address is set in here

    made = Hub()
    address = f"http://127.0.0.1:{made.server.server_address[1]}"
    for module in (constants, hf_api, file_download):
        if hasattr(module, "ENDPOINT"):
            monkeypatch.setattr(module, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_only_what_is_needed_is_fetched_and_of_one_commit(gpt2, hub, tmp_path):
    folder = tmp_path / "repo"
    shutil.copytree(gpt2, folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    hub.holds("org/tiny", folder)
    made = checkpoints.load("hub:org/tiny")
    assert made.name == f"hub:org/tiny@{COMMIT}"
    fetched = {p.rsplit("/", 1)[1] for p in hub.asked if "/resolve/" in p}
    assert fetched == {"config.json", "tokenizer.json", "model.safetensors"}
    assert all(f"/resolve/{COMMIT}/" in p for p in hub.asked if "/resolve/" in p)


def test_what_the_hub_has_not_is_one_line(hub, gpt2):
    with pytest.raises(Unreachable, match="is not on the Hub"):
        checkpoints.load("hub:org/nothing")
    hub.holds("org/tiny", gpt2)
    with pytest.raises(Unreachable, match="no such revision"):
        checkpoints.load("hub:org/tiny@elsewhere")


def test_one_that_is_too_large_is_refused_before_a_byte_of_it_is_loaded(hub, gpt2):
    hub.holds("org/tiny", gpt2, **{"model.safetensors": 5_000_000_000})
    with pytest.raises(Refused, match=r"5,000 MB; the limit is 1,000 MB"):
        checkpoints.load("hub:org/tiny")
    assert not any("/resolve/" in p for p in hub.asked)


def test_without_a_network_it_says_so(hub, gpt2):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(Unreachable, match="no network"):
        checkpoints.load("hub:org/tiny")


# what cannot be read ------------------------------------------------------------------------------------


@pytest.fixture
def copy(gpt2, tmp_path) -> Path:
    return Path(shutil.copytree(gpt2, tmp_path / "copy"))


def config(folder: Path, **change: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(("change", "said"), [
    ({"model_type": "bert"}, "'bert' network; those of type gpt2 and llama"),
    ({"activation_function": "relu"}, "activation_function is 'relu'"),
    ({"n_embd": 47}, "do not make up its width"),
    ({"n_layer": 10**9}, "sizes make no network"),
    ({"n_layer": "many"}, "sizes make no network"),
    ({"n_layer": 500, "n_embd": 4096}, "M parameters; the limit is"),
    ({"bos_token_id": 10**6}, "no token to begin with"),
])
def test_another_kind_of_network_is_refused_by_its_config(copy, change, said):
    config(copy, **change)
    with pytest.raises(Refused, match=said):
        checkpoints.load(str(copy))


def test_stretched_positions_are_refused(tmp_path):
    save(tmp_path / "net", "llama")
    config(tmp_path / "net", rope_parameters={"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0})
    with pytest.raises(Refused, match="positions are stretched"):
        checkpoints.load(str(tmp_path / "net"))


@pytest.mark.parametrize(("file", "said"), [
    ("model.safetensors", "has no safetensors"), ("config.json", "has no config.json"),
    ("tokenizer.json", "has no tokenizer.json"),
])
def test_a_missing_file_is_named(copy, file, said):
    (copy / file).unlink()
    with pytest.raises(Refused, match=said):
        checkpoints.load(str(copy))


def test_a_pickle_is_never_opened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(Refused, match="has no safetensors, only pytorch_model.bin"):
        checkpoints.load(str(copy))


@pytest.mark.parametrize("how", ["cut", "junk", "header"])
def test_damaged_weights_are_one_line(copy, how):
    path = copy / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-100], "junk": b"x" * 500, "header": b"\xff" * 8 + data[8:]}[how])
    with pytest.raises(BadWeights, match="damaged"):
        checkpoints.load(str(copy))


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t.pop("transformer.h.1.mlp.c_fc.weight"), "h.1.mlp.c_fc.weight' is missing"),
    (lambda t: t.update({"transformer.wpe.weight": torch.zeros(3, 48)}), "wpe.weight' has shape"),
    (lambda t: t.update({"adapter.weight": torch.zeros(3)}), "adapter.weight' belongs to no part"),
    (lambda t: t.update({"transformer.ln_f.bias": torch.zeros(48, dtype=torch.int64)}), "is I64"),
])
def test_tensors_that_do_not_fit_their_config_are_named(copy, change, said):
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(BadWeights, match=said):
        checkpoints.load(str(copy))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_shards_and_old_names_are_read(gpt2, copy, dtype):
    """As gpt2 itself is stored: no prefix, masks among the tensors; and in two files."""
    tensors = {public.plain(k): v.to(dtype) for k, v in load_file(copy / "model.safetensors").items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 80, 80, dtype=torch.uint8)
    names = sorted(tensors)
    (copy / "model.safetensors").unlink()
    for i, part in enumerate((names[:9], names[9:]), 1):
        save_file({n: tensors[n].contiguous() for n in part}, copy / f"model-{i:05d}-of-00002.safetensors")
    text = ids(12)
    got = checkpoints.load(str(copy)).network.session()(text, 12)
    wanted = checkpoints.load(str(gpt2)).network.session()(text, 12)
    assert not torch.equal(got, wanted) and (got - wanted).abs().max() < 0.5


@pytest.mark.parametrize("junk", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"version": "1.0"}'])
def test_a_tokenizer_that_is_none_is_one_line(copy, junk):
    (copy / "tokenizer.json").write_bytes(junk)
    with pytest.raises(BadWeights, match="tokenizer"):
        checkpoints.load(str(copy))


# its words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "byte_level", "shown"), [
    ("Ġtown", True, " town"), ("Ċ", True, "\n"), ("Ã", True, "\\xc3"), ("Ã©", True, "é"), ("ĉ", True, "\\t"),
    ("▁town", False, " town"), ("<0x0A>", False, "\n"), ("<0xE2>", False, "\\xe2"), ("\u202efox", False, "\\u202efox"),
])
def test_a_token_shows_what_it_writes_and_steers_nothing(token, byte_level, shown):
    assert checkpoints.spelled(token, byte_level) == shown


def test_words_joined_are_the_text_and_special_signs_are_refused(gpt2):
    text = checkpoints.load(str(gpt2)).text
    said = "once, in a small town. Caf\u00e9!"
    assert "".join(text.words[i] for i in text.encode("once, in a small town.")) == "once, in a small town."
    assert len(text.encode(said)) > 8 and text.words[text.end] == "<end>" and text.begin == text.end == 0
    assert 1 < len(text.passage(3)) and text.ids["<end>"] == 0
    with pytest.raises(Refused, match="steers"):
        text.encode("once <|endoftext|>")


def test_an_exhibit_offers_it_only_where_it_was_loaded(gpt2, offers):
    def choices(slug: str) -> list[str]:
        found = [s for s in catalog.EXHIBITS[slug].settings if s.name == "text"]
        return list(found[0].choices) if found else ["stories"]

    before = choices("next-token")
    name = checkpoints.offer(str(gpt2))
    assert choices("next-token") == [*before, name] == choices("speculative")
    assert np.all([name not in choices("assd")])
    assert exhibits.EXHIBITS[0].slug == "next-token"
