"""Reconstruction of training data from weights."""
