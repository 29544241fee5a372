"""Pictures as a line of codes that steer a denoiser: each full group of them makes one denoising step."""
