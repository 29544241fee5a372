"""SERIES: a seed is a series, longer ones begin like shorter ones, and each kind obeys its law."""

from __future__ import annotations

import numpy as np
import pytest

from engines.worlds import series


@pytest.mark.parametrize("kind", list(series.KINDS))
def test_a_seed_is_a_series_whatever_its_length_and_company(kind):
    make = series.KINDS[kind]
    many, long = make([3, 4, 5], 20), make([4], 40)
    assert many.shape[:2] == (3, 20) and np.isfinite(many).all()
    assert np.allclose(many[1], long[0, :20], atol=1e-4)
    assert not np.allclose(many[0], many[1])


def test_the_pendulum_keeps_its_energy_and_swings_slower_the_farther_it_swings():
    x = series.pendulum(range(40), 200, noise=0.0)
    theta, speed = np.moveaxis((x - 0.5) * 2 * 1.1 * series.MOST, -1, 0)
    energy = speed**2 / 2 + 1 - np.cos(theta)
    assert np.ptp(energy, axis=1).max() < 1e-9
    amplitude = np.arccos(1 - energy[:, 0])
    assert series.LEAST <= amplitude.min() and amplitude.max() <= series.MOST
    for row, far in zip(theta, amplitude, strict=True):
        up = np.flatnonzero((row[:-1] < 0) & (row[1:] >= 0))
        at = up - row[up] / (row[up + 1] - row[up])
        assert 2 * np.pi / np.diff(at).mean() == pytest.approx(series.angle_per_step(far), rel=0.01)
    assert series.angle_per_step(1.5) < 0.9 * series.angle_per_step(0.3)
    assert series.angle_per_step(1e-6) == pytest.approx(np.sqrt(series.GRAVITY) * series.DT)


def test_an_autoregressive_series_has_its_coefficients():
    y = series.autoregressive([1], 40_000)[0, :, 0]
    past = np.stack([y[2:-1], y[1:-2], y[:-3]], axis=1)
    w = np.linalg.lstsq(past, y[3:], rcond=None)[0]
    assert np.allclose(w, series.AR, atol=0.02)
    assert not np.allclose(w[::-1], series.AR, atol=0.02)


def test_a_day_comes_back_and_the_weather_does_not():
    day = series.seasonal([2], 96, noise=0.0)[0, :, 0]
    assert np.allclose(day[:24], day[24:48]) and not np.allclose(day[:24], day[12:36])
    a, b = series.lorenz([1, 2], 60)
    assert np.ptp(a[:, 0]) > 0.2 and not np.allclose(a, b)


@pytest.mark.parametrize(("share", "left"), [(0.0, 24), (0.3, 17), (0.5, 12), (0.7, 7), (1.0, 2)])
def test_holes_take_their_share_and_leave_two(share, left):
    seen = series.holes(range(50), 24, share)
    assert (seen.sum(1) == left).all()
    assert share in (0.0,) or len({row.tobytes() for row in seen}) > 20
