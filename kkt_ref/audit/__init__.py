"""The audit of trained weights."""
