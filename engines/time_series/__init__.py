"""The time-series room: a variational autoencoder whose latents walk by one matrix (kvae)."""
