"""Compiled inner loops: Numba with a small layer of vector registers, each beside a plain reference."""
