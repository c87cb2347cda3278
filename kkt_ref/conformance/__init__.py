"""Checks of other implementations."""
