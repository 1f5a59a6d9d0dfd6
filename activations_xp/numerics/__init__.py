"""Numerical building blocks, written on the array API standard."""
