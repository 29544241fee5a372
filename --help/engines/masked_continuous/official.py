"""Public checkpoints of MAR (LTH14/mar) as networks of this room: one table of names, and how pictures are cut."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from engines.masked_continuous.model import Mar

# Official name -> ours; {i} counts blocks of each kind. Linear layers and norms carry .weight and .bias.
OFFICIAL_KEYS = {
    "class_emb.weight": "caption.embed",
    "fake_latent": "caption.null",
    "z_proj": "enter",
    "z_proj_ln": "enter_norm",
    "encoder_pos_embed_learned": "place_a",
    "encoder_blocks.{i}": "blocks.{i}",
    "encoder_norm": "norm_a",
    "decoder_embed": "cross",
    "mask_token": "mask",
    "decoder_pos_embed_learned": "place_b",
    "decoder_blocks.{i}": "blocks.{depth + i}",
    "decoder_norm": "norm_b",
    "diffusion_pos_embed_learned": "place_z",
    "diffloss.net.time_embed.mlp.0": "head.time_up",
    "diffloss.net.time_embed.mlp.2": "head.time_down",
    "diffloss.net.cond_embed": "head.hear",
    "diffloss.net.input_proj": "head.enter",
    "diffloss.net.res_blocks.{i}": "head.steps.{i}",
    "diffloss.net.final_layer.linear": "head.leave",
    "diffloss.net.final_layer.adaLN_modulation.1": "head.last_tell",
    # inside a block
    "norm1": "norm_a",
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "norm2": "norm_b",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
    # inside a step of the head
    "in_ln": "norm",
    "mlp.0": "up",
    "mlp.2": "down",
    "adaLN_modulation.1": "tell",
}


def translate(key: str, depth: int) -> str:
    """Our name of an official tensor; depth: how many blocks the encoder has. Raises KeyError for an unknown one."""
    if key in OFFICIAL_KEYS:
        return OFFICIAL_KEYS[key]
    stem, kind = key.rsplit(".", 1)
    found = re.fullmatch(r"((?:encoder|decoder)_blocks|diffloss\.net\.res_blocks)\.(\d+)\.(.+)", stem)
    if not found:
        return f"{OFFICIAL_KEYS[stem]}.{kind}"
    room, number, part = found.groups()
    ours = OFFICIAL_KEYS[f"{room}.{{i}}"]
    at = ours.replace("{depth + i}", str(depth + int(number))).replace("{i}", number)
    return f"{at}.{OFFICIAL_KEYS[part]}.{kind}"


def load(args: Mapping[str, Any], state: Mapping[str, Tensor]) -> Mar:
    """An official model (LTH14/mar) as ours: its constructor's arguments and its state dict, official keys."""
    side = args["img_size"] // args["vae_stride"] // args["patch_size"]
    widths = [args["encoder_embed_dim"], args["decoder_embed_dim"]]
    layers = [args["encoder_depth"], args["decoder_depth"]]
    network = Mar(
        channels=args["vae_embed_dim"] * args["patch_size"] ** 2, length=side * side, slots=args["buffer_size"],
        classes=args["class_num"], layers=layers, widths=widths,
        heads=[args["encoder_num_heads"], args["decoder_num_heads"]],
        hidden=[int(width * args["mlp_ratio"]) for width in widths], head=[args["diffloss_d"], args["diffloss_w"]],
    )
    shapes = network.state_dict()
    ours = {translate(key, layers[0]): value for key, value in state.items()}
    # Official positions and the mask token carry leading axes of length one.
    network.load_state_dict({key: value.reshape(shapes[key].shape) for key, value in ours.items()})
    return network.eval()


def patchify(latents: Tensor, size: int = 1) -> Tensor:
    """(B, C, H, W) -> (B, L, C · size²): places from left to right and top to bottom, channels before pixels."""
    rows, channels, high, wide = latents.shape
    x = latents.view(rows, channels, high // size, size, wide // size, size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(rows, -1, channels * size * size)


def unpatchify(tokens: Tensor, size: int = 1) -> Tensor:
    """The inverse of `patchify` for square pictures."""
    rows, length, inner = tokens.shape
    side, channels = round(length**0.5), inner // (size * size)
    x = tokens.view(rows, side, side, channels, size, size)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(rows, channels, side * size, side * size)
