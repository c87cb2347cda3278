"""Training to a KKT point."""
