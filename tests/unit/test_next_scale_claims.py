"""The claims of `var` hold for what they speak of, and fall for broken twins. No trained decoder is needed here."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from engines import catalog, stats
from engines.events import Commit, Forward
from engines.next_scale import claims
from engines.next_scale.exhibits import VAR
from engines.next_scale.model import Network
from engines.next_scale.sample import NET, TOKENIZER
from engines.next_scale.var import var
from engines.raster.exhibits import RASTER
from engines.raster.model import Raster
from engines.runtime import Trial, complete
from engines.tokenizers.model import MultiScale, SingleScale
from engines.worlds import scenes

SCALES = [1, 2, 3, 4, 6, 8]
CNN = {"widths": [8, 8, 8], "blocks": 1, "groups": 4, "stem": 2, "channels": 4, "codes": 32}


@pytest.fixture(scope="module")
def nets():
    """Random networks of both rooms, small; each lane gets a session of its own."""
    torch.manual_seed(0)
    known = {
        NET: Network(vocab=32, channels=4, layers=1, width=16, heads=2, hidden=16, scales=SCALES),
        TOKENIZER: MultiScale(**CNN, scales=SCALES, phis=4),
        "raster/raster": Raster(vocab=32, layers=1, width=16, heads=2, hidden=16, side=8),
        "tokenizers/vq": SingleScale(**CNN, inner=8, size=8),
    }
    for net in known.values():
        net.eval().requires_grad_(False)

    def provide(name):
        session = known[name].session()
        if name in (NET, "raster/raster"):
            session.params = 1_000  # the claim asks for equal networks; these stand for such
        return session

    return provide


@pytest.fixture
def trial(monkeypatch, nets):
    monkeypatch.setitem(catalog.EXHIBITS, "var", VAR)
    monkeypatch.setitem(catalog.EXHIBITS, "raster", RASTER)

    def make(claim, **more):
        return Trial(VAR, next(c for c in VAR.claims if c.id == claim), **({"nets": nets} | more))

    return make


def last(trial):
    """The final result, judged as the page judges it."""
    *_, result = trial.claim.measure(trial)
    return complete(trial.claim, result)


def called_twice(s, noise, meter):
    """A lane that shows six scales but asks its network again for each."""
    for event in var(s, noise, meter):
        yield event
        if isinstance(event, Forward) and event.net == NET:
            yield replace(event, calls=event.calls + 1)


def half_drawn(s, noise, meter):
    """A lane that makes six calls and leaves the finest codes out."""
    for event in var(s, noise, meter):
        if not (isinstance(event, Commit) and len(event.values) == 64):
            yield event


def test_six_calls_against_sixty_four(trial):
    result = last(trial("calls-6-vs-64", effort=0.05))
    assert result["holds"] and [p["y"] for p in result["points"]] == [6, 64]


@pytest.mark.parametrize("twin", [called_twice, half_drawn])
def test_more_calls_or_fewer_codes_make_the_count_fall(trial, twin):
    assert last(trial("calls-6-vs-64", effort=0.05, subject=twin))["holds"] is False


class OneByOne:
    """A session that computes a scale once for every code of it, as a sampler without parallel codes would."""

    def __init__(self, inner):
        self.inner, self.params, self.cache_bytes = inner, inner.params, inner.cache_bytes

    @property
    def last(self):
        return self.inner.last

    def warm(self):
        self.inner.warm()

    def __call__(self, k, canvas, caption, keep):
        done = self.inner.done
        for _ in range(canvas.shape[1]):
            self.inner.done = done
            out = self.inner(k, canvas, caption, keep)
        return out


@pytest.mark.slow
def test_one_call_a_code_is_not_twice_as_fast(trial, nets):
    slow = last(trial("wall", nets=lambda name: OneByOne(nets(name)) if name == NET else nets(name)))
    assert slow["here"] < 2 and slow["holds"] is not True


def test_unequal_networks_decide_nothing(trial, nets, monkeypatch):
    def unequal(name):
        session = nets(name)
        if name == NET:
            session.params = 1_100
        return session

    monkeypatch.setattr(stats, "abba", lambda a, b, pairs, ask: {"here": 3.0, "low": 2.9, "high": 3.1, "n": pairs})
    assert last(trial("wall"))["holds"] is True
    result = last(trial("wall", nets=unequal))
    assert result["holds"] is None and "1,100" in result["reason"]


def perfect(captions, seeds, **how):
    return scenes.render(captions, seeds).image


def noise(captions, seeds, **how):
    return torch.randn(len(captions), 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def test_pictures_as_good_as_the_baseline_are_not_worse_and_noise_is(trial, monkeypatch):
    monkeypatch.setattr(claims, "row_by_row", perfect)
    good = last(trial("judge-non-inferior", effort=0.07, subject=perfect))
    assert good["holds"] and good["here"] == 0 and good["points"][0]["y"] > 99
    assert last(trial("judge-non-inferior", effort=0.07, subject=noise))["holds"] is False


def test_a_picture_in_ten_without_its_objects_is_seen(trial, monkeypatch):
    def sloppy(captions, seeds):
        image = perfect(captions, seeds)
        image[::10] = 0
        return image

    monkeypatch.setattr(claims, "row_by_row", perfect)
    assert last(trial("judge-non-inferior", effort=0.2, subject=sloppy))["holds"] is False


def test_guidance_that_helps_and_guidance_that_does_nothing(trial):
    def helped(captions, seeds, guidance, ramp=True):
        return perfect(captions, seeds) if guidance else noise(captions, seeds)

    good = last(trial("guidance-ramp", effort=0.05, subject=helped))
    assert good["holds"] and [p["x"] for p in good["points"]] == list(claims.STRENGTHS)
    assert good["points"][1]["spread"] > 0
    assert last(trial("guidance-ramp", effort=0.05, subject=perfect))["holds"] is False


class Pyramid:
    """An honest tokenizer without codes: each scale holds what the coarser ones left, shrunk to its size."""

    scales = [8, 16, 32, 64]

    def zero(self, rows):
        return torch.zeros(rows, 3, 64, 64)

    def encode(self, image):
        rest, out = image, []
        for p in self.scales:
            out.append(F.interpolate(rest, size=(p, p), mode="area"))
            rest = rest - F.interpolate(out[-1], size=(64, 64))
        return out

    def add(self, f_hat, k, part):
        return f_hat + F.interpolate(part, size=(64, 64))

    running = MultiScale.running

    def decode(self, f_hat):
        return f_hat


def test_every_scale_must_lower_the_error(trial):
    class Overdone(Pyramid):
        """It adds its third scale twice over."""

        def add(self, f_hat, k, part):
            return super().add(f_hat, k, part * (3 if k == 2 else 1))

    torch.manual_seed(1)
    random = MultiScale(**CNN, scales=SCALES, phis=4).eval()
    torch.nn.init.normal_(random.codebook)
    good = last(trial("more-scales-less-error", effort=0.02, subject=Pyramid()))
    assert good["holds"] and len(good["points"]) == 5 and good["points"][3]["y"] < 1e-6
    for broken in (Overdone(), random):
        assert last(trial("more-scales-less-error", effort=0.02, subject=broken))["holds"] is False
