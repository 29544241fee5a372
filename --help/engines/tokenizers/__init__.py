"""Between pictures and what decoders write: codes on a grid, codes on a pyramid of scales, continuous latents."""
