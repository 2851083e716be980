"""Shipped weights: what they say about themselves, where they lie, reading and writing them."""
