"""Pictures of continuous tokens: sets of cells in any order, each token drawn by a small diffusion of its own."""
