"""Toys on a table: every object is ray-cast in a window of its own, three rays a pixel each way.

A parallel camera looks down at 32 degrees; the light stands high on the left and a little in front. World axes:
x right, y away from the viewer, z up; lengths are in units of the object's radius. The pixel at (u right, v up)
looks along D from the point (u, v sin, v cos), so in an object's own axes every ray is linear in u and v, and one
function a shape serves the camera's rays and the shadow's. Colours are mixed in linear light.

K objects, N rays each; a point or direction is three tensors (K, N) or (K, 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.worlds.scenes.objects import RGB, SIZE


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    long = math.sqrt(x * x + y * y + z * z)
    return x / long, y / long, z / long


TILT = math.radians(32)
SIN, COS = math.sin(TILT), math.cos(TILT)
DOWN = (0.0, COS, -SIN)  # where the camera looks
LIGHT = _unit(-0.60, -0.27, 0.76)  # towards the light
HALFWAY = _unit(*(light - view for light, view in zip(LIGHT, DOWN)))  # where a highlight sits
RAYS = 3  # a pixel, each way; odd, so that one of them goes through the pixel's middle
MARGIN = 24  # windows may stick out of the picture by this much
SMALL_RADIUS = 5.8  # pixels; up to here the small windows do
# Pixels of the windows of objects and of shadows, small and large, and the shadow window's left and top in radii.
OBJECT_WINDOW, SHADOW_WINDOW = (14, 22), (24, 40)
SHADOW_LEFT, SHADOW_TOP = 1.5, 1.5

CUBE, CORNER = 0.66, 0.13  # half a side; how far from an edge its bevel begins
CONE_HEIGHT, CONE_BASE = 0.98, 0.84  # half its height; radius at the table
RING, TUBE, LEAN = 0.69, 0.30, math.radians(16)
BASE = (1.0, CUBE, CONE_HEIGHT, RING * math.cos(LEAN) + TUBE)  # height of each shape's centre over the table
RAISE = (0.0, 0.0, 0.22, 0.0)  # up the picture, so that what is seen of a cone is centred too
LAMP, SKY = torch.tensor([0.88, 0.84, 0.77]), torch.tensor([0.26, 0.27, 0.31])  # warm light, cool shade
FOOT = ((0.75, 0.75), (0.86, 0.86), (0.88, 0.88), (0.62, 0.45))  # half-widths of the shade at its foot, in radii
GLOSS = (0.55, 0.16, 0.22, 0.40)
DEPTH_MIDDLE, DEPTH_RANGE = 0.55, 150.0  # depth = middle + (pixels along the camera's rays) / range

Triple = tuple[Tensor, Tensor, Tensor]


class Things(NamedTuple):
    """Objects to draw, one row each, (M,)."""

    scene: Tensor  # which picture
    mark: Tensor  # its number in the segmentation, 1..4
    shape: Tensor
    colour: Tensor
    x: Tensor  # pixels from the picture's left
    y: Tensor  # pixels from its top, of the standing object
    radius: Tensor  # pixels
    turn: Tensor  # radians about the upright
    lift: Tensor  # pixels over the table

    def pick(self, index: Tensor) -> "Things":
        return Things(*(value[index] for value in self))


class Hit(NamedTuple):
    seen: Tensor  # (K, N) bool
    along: Tensor  # how far along the ray
    normal: Triple
    part: Tensor | int  # which face


@dataclass
class Scene:
    """A batch of drawn scenes."""

    image: Tensor  # (B, 3, 64, 64) float32 in [-1, 1]
    objects: Tensor  # (B, 4, 4) int64, see `captions.py`
    segmentation: Tensor  # (B, 64, 64) uint8: 0 is ground, k the object in row k - 1
    depth: Tensor  # (B, 64, 64) float32 in [0, 1]: 0 near, 1 far
    edges: Tensor  # (B, 64, 64) uint8: 1 where a face or an object ends

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def join(cls, parts: list["Scene"]) -> "Scene":
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _sphere(o: Triple, d: Triple) -> Hit:
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    inside = b * b - (o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1)
    t = -b - inside.clamp_min(0).sqrt()
    return Hit(inside > 0, t, (o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]), 0)


def _cube(o: Triple, d: Triple) -> Hit:
    """Slabs; the normal leans over near an edge, which makes the edge catch the light as a rounded one does."""
    enter, leave = [], []
    for k in range(3):
        slow = torch.where(d[k].abs() < 1e-6, 1e-6, d[k])
        middle, half = -o[k] / slow, CUBE / slow.abs()
        enter.append(middle - half)
        leave.append(middle + half)
    t = torch.maximum(torch.maximum(enter[0], enter[1]), enter[2])
    seen = t < torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])
    part = torch.where(t == enter[2], 2, torch.where(t == enter[1], 1, 0))
    bent = []
    for k in range(3):
        p = o[k] + t * d[k]
        bent.append((p.abs() - (CUBE - CORNER)).clamp(0, CORNER) * p.sign())
    long = (bent[0] ** 2 + bent[1] ** 2 + bent[2] ** 2).clamp_min(1e-9).rsqrt()
    return Hit(seen, t, (bent[0] * long, bent[1] * long, bent[2] * long), part)


def _cone(o: Triple, d: Triple) -> Hit:
    slope = CONE_BASE / (2 * CONE_HEIGHT)
    up, rise = slope * (CONE_HEIGHT - o[2]), slope * d[2]
    a = d[0] * d[0] + d[1] * d[1] - rise * rise
    b = o[0] * d[0] + o[1] * d[1] + up * rise
    inside = b * b - a * (o[0] * o[0] + o[1] * o[1] - up * up)
    root = inside.clamp_min(0).sqrt()
    t, far = (-b - root) / a, (-b + root) / a
    z, z_far = o[2] + t * d[2], o[2] + far * d[2]
    seen = (inside > 0) & ((z.abs() <= CONE_HEIGHT) | (z_far.abs() <= CONE_HEIGHT))
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    flat = 1 / math.sqrt(1 + slope * slope)
    round_ = flat * (x * x + y * y).clamp_min(1e-6).rsqrt()
    return Hit(seen, t, (x * round_, y * round_, torch.full_like(x, flat * slope)), 0)


def _ring(o: Triple, d: Triple) -> Hit:
    """A torus about y, found by sphere tracing: walk as far as the distance says is free."""
    t = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) - 1.0
    for _ in range(12):
        x, y, z = (o[k] + t * d[k] for k in range(3))
        away = ((x * x + z * z).sqrt() - RING).square().add(y * y).sqrt() - TUBE
        t = t + away
    x, y, z = (o[k] + t * d[k] for k in range(3))
    scale = (1 - RING * (x * x + z * z).clamp_min(1e-6).rsqrt()) / TUBE
    return Hit(away < 0.02, t, (x * scale, y / TUBE, z * scale), 0)


CAST: tuple[Callable[[Triple, Triple], Hit], ...] = (_sphere, _cube, _cone, _ring)


def _axes(shape: int, turn: Tensor) -> list[Triple]:
    """Rows of the world-to-object matrix, each entry (K, 1); a ring also leans back."""
    # In float64 and rounded: the last bit of a float32 sine depends on how many are computed at once.
    c, s = turn.double().cos().float()[:, None], turn.double().sin().float()[:, None]
    zero = torch.zeros_like(c)
    if shape != 3:
        return [(c, s, zero), (-s, c, zero), (zero, zero, zero + 1)]
    cl, sl = math.cos(LEAN), math.sin(LEAN)
    return [(c, s, zero), (-s * cl, c * cl, zero - sl), (-s * sl, c * sl, zero + cl)]


def _dot(row: Triple, vector: tuple[float, ...]) -> Tensor:
    return row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]


def _window(things: Things, shape: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One shape's look: (K, 4, w, w) of light, sky, gloss and cover; mid-pixel cover, depth, part (K, w, w)."""
    w = OBJECT_WINDOW[size]
    radius = things.radius[:, None]
    grid = (torch.arange(w * RAYS) + 0.5) / RAYS
    left, top = _window_corner(things)
    u = (grid + left[:, None] - things.x[:, None]) / radius
    v = (things.y[:, None] - things.lift[:, None] - grid - top[:, None]) / radius - RAISE[shape]
    rows = _axes(shape, things.turn)
    over, down = [row[0][:, :, None] for row in rows], [_dot(row, (0, SIN, COS))[:, :, None] for row in rows]
    o = tuple((a * u[:, None, :] + b * v[:, :, None]).flatten(1) for a, b in zip(over, down))
    d = tuple(_dot(row, DOWN) for row in rows)
    hit = CAST[shape](o, d)  # type: ignore[arg-type]
    n = hit.normal
    light, up, gloss = (
        n[0] * _dot(rows[0], vector) + n[1] * _dot(rows[1], vector) + n[2] * _dot(rows[2], vector)
        for vector in (LIGHT, (0.0, 0.0, 1.0), HALFWAY)
    )
    seen = hit.seen.float()
    height = v.repeat_interleave(w * RAYS, dim=1) * COS - hit.along * SIN  # of the point over the object's middle
    buried = (0.62 + 0.38 * ((height + BASE[shape]) / 0.55).clamp(0, 1)) * seen  # dark where it meets the table
    shine = gloss.clamp_min(0).square().square().square().square().square() * (GLOSS[shape] * seen)
    lit = (light * 0.92 + 0.08).clamp_min(0)
    look = torch.stack([lit * buried, (0.5 + 0.5 * up) * buried, shine, seen], 1).unflatten(2, (w * RAYS, -1))
    middle = slice(RAYS // 2, None, RAYS)
    square = (len(radius), w * RAYS, w * RAYS)
    part = torch.as_tensor(hit.part).expand(hit.seen.shape)
    return (F.avg_pool2d(look, RAYS), hit.seen.view(square)[:, middle, middle],
            hit.along.view(square)[:, middle, middle], part.reshape(square)[:, middle, middle])


def _window_corner(things: Things) -> tuple[Tensor, Tensor]:
    half = torch.tensor(OBJECT_WINDOW)[(things.radius > SMALL_RADIUS).long()] / 2
    return (things.x - half).round(), (things.y - things.lift - half).round()


def _shadow(things: Things, shape: int, size: int) -> tuple[Tensor, Tensor]:
    """What is kept from the ground: (K, w, w) of the light, and of the sky near where the object stands."""
    w = SHADOW_WINDOW[size]
    radius = things.radius[:, None]
    grid = torch.arange(w) + 0.5
    left, top = _shadow_corner(things)
    u = (grid + left[:, None] - things.x[:, None]) / radius
    v = (things.y[:, None] - grid - top[:, None]) / radius - RAISE[shape]
    base = BASE[shape] + things.lift[:, None] / (radius * COS)
    away = (v + BASE[shape] * COS) / SIN
    rows = _axes(shape, things.turn)
    o = tuple(
        (row[0][:, :, None] * u[:, None, :] + (row[1] * away - row[2] * base)[:, :, None]).flatten(1) for row in rows
    )
    cast = CAST[shape](o, tuple(_dot(row, LIGHT) for row in rows)).seen.float().view(-1, 1, w, w)  # type: ignore
    for _ in range(2 + size):
        cast = F.avg_pool2d(cast, 3, 1, 1)
    wide, deep = FOOT[shape]
    near = (u / wide).square()[:, None, :] + (away / deep).square()[:, :, None]
    return cast[:, 0], (1 - 0.35 * near).clamp_min(0).pow(3) * torch.exp(-2 * (base - BASE[shape]))[:, :, None]


def _shadow_corner(things: Things) -> tuple[Tensor, Tensor]:
    return (things.x - SHADOW_LEFT * things.radius).floor(), (things.y - SHADOW_TOP * things.radius).floor()


def reach(things: Things) -> Tensor:
    """(M, 4) int64: left, top, right, bottom (half open) of all that an object can change in the picture."""
    large = (things.radius > SMALL_RADIUS).long()
    boxes = []
    for corner, sizes in ((_shadow_corner(things), SHADOW_WINDOW), (_window_corner(things), OBJECT_WINDOW)):
        w = torch.tensor(sizes)[large]
        boxes.append(torch.stack([corner[0].long(), corner[1].long(), corner[0].long() + w, corner[1].long() + w], 1))
    low, high = torch.minimum(*boxes), torch.maximum(*boxes)
    return torch.cat([low[:, :2], high[:, 2:]], 1).clamp(0, SIZE)


def paint(ground: Tensor, things: Things) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ground (B, 3, 64, 64) in linear light -> image in [-1, 1], segmentation, depth, edges as in `Scene`."""
    batch, side = len(ground), SIZE + 2 * MARGIN
    albedo = torch.tensor(RGB).square()  # linear: sRGB is close to a square
    canvas = F.pad(ground, (MARGIN,) * 4, mode="replicate")
    rise = SIZE / 2 - (torch.arange(side) + 0.5 - MARGIN)
    depth = (rise * (COS / SIN))[None, :, None].expand(batch, side, side).contiguous()
    marks = torch.zeros(batch, side, side, dtype=torch.uint8)
    parts = torch.zeros(batch, side, side, dtype=torch.uint8)
    layers = things.pick(things.y.argsort(stable=True))  # back to front
    turn = _rank(layers.scene)
    groups = []
    for shape in range(len(CAST)):
        for size in range(2):
            index = ((layers.shape == shape) & ((layers.radius > SMALL_RADIUS) == bool(size))).nonzero()[:, 0]
            if len(index):
                groups.append((shape, size, index, layers.pick(index)))
    for shape, size, index, group in groups:  # all shadows first: they fall on the ground only
        dark, near = _shadow(group, shape, size)
        kept = torch.stack([1 - 0.54 * dark, 1 - 0.56 * dark, 1 - 0.48 * dark], 1)
        tint = 0.45 + 0.4 * albedo[group.colour]
        kept = kept * (1 - 0.85 * near[:, None] * (1 - tint)[:, :, None, None])
        left, top = _shadow_corner(group)
        for layer in turn[index].unique().tolist():
            now = (turn[index] == layer).nonzero()[:, 0]
            at = _region(group.scene[now], left[now], top[now], SHADOW_WINDOW[size])
            canvas[at] = canvas[at] * kept[now].movedim(1, -1)
    looks = [_window(group, shape, size) for shape, size, _, group in groups]
    for layer in turn.unique().tolist():
        for (shape, size, index, group), (look, seen, along, part) in zip(groups, looks):
            now = (turn[index] == layer).nonzero()[:, 0]
            if not len(now):
                continue
            it = group.pick(now)
            at = _region(it.scene, *_window_corner(it), OBJECT_WINDOW[size])
            light, sky, gloss, cover = look[now].unbind(1)
            colour = albedo[it.colour][:, None, None] * (LAMP * light[..., None] + SKY * sky[..., None])
            colour = colour + gloss[..., None]
            canvas[at] = canvas[at] * (1 - cover[..., None]) + colour
            flat = (at[0][..., 0], at[2][..., 0], at[3][..., 0])
            # The middle of the object, along the camera's rays, from the plane through the picture's middle.
            lift = it.lift / COS
            up = SIZE / 2 - it.y + it.lift + RAISE[shape] * it.radius
            start = (up * COS - (BASE[shape] * it.radius + lift)) / SIN
            new = start[:, None, None] + along[now] * it.radius[:, None, None]
            here = seen[now]
            depth[flat] = torch.where(here, new, depth[flat])
            marks[flat] = torch.where(here, it.mark[:, None, None].to(torch.uint8), marks[flat])
            parts[flat] = torch.where(here, (it.mark[:, None, None] * 4 + part[now]).to(torch.uint8), parts[flat])
    inner = slice(MARGIN, MARGIN + SIZE)
    parts = parts[:, inner, inner]
    edges = torch.zeros_like(parts)
    edges[:, :, :-1] |= (parts[:, :, 1:] != parts[:, :, :-1]).to(torch.uint8)
    edges[:, :-1] |= (parts[:, 1:] != parts[:, :-1]).to(torch.uint8)
    image = canvas[:, :, inner, inner].clamp(0, 1).sqrt() * 2 - 1
    far = (DEPTH_MIDDLE + depth[:, inner, inner] / DEPTH_RANGE).clamp(0, 1)
    return image.contiguous(), marks[:, inner, inner].contiguous(), far, edges


def _rank(scene: Tensor) -> Tensor:
    """How many earlier entries name the same scene: 0 for each scene's first."""
    order = scene.argsort(stable=True)
    sorted_ = scene[order]
    first = torch.searchsorted(sorted_, sorted_)
    rank = torch.empty_like(scene)
    rank[order] = torch.arange(len(scene)) - first
    return rank


def _region(scene: Tensor, left: Tensor, top: Tensor, w: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Index of (K, w, w, 3) in a canvas (B, 3, side, side)."""
    span = torch.arange(w)
    rows = (top.long() + MARGIN)[:, None] + span
    columns = (left.long() + MARGIN)[:, None] + span
    return (scene[:, None, None, None], torch.arange(3)[None, None, None, :],
            rows[:, :, None, None], columns[:, None, :, None])
