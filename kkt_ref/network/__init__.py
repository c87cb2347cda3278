"""The network as plain data: Φ(θ; x), its activations and its files."""
