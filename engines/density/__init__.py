"""Densities of points in the plane, learned by auto-encoders that take noise away."""
