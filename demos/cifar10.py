"""CIFAR-10, vehicles against animals: reconstruct training images from a network's weights.

    python demos/cifar10.py

This demo does the same as `demos/mnist.py` with colour images.  The package contains 20 of them:
10 for training, and 10 that the network never sees.  With the official files (`KKT_REF_DATA` or
`--download`) it trains on 100, and with `--full` it trains the paper's network on 500.
"""

from images import main

if __name__ == "__main__":
    main("cifar10", __doc__)
