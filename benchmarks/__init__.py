"""Where the README's figures come from: `python -m benchmarks` runs all of them and prints one table.

Every script here can also be run alone (`python -m benchmarks.first_paint`). Run them on a quiet machine.
"""
