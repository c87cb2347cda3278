"""CIFAR-10, vehicles against animals: reconstruct training images from a network's weights.

    python demos/cifar10.py

This demo does the same as `demos/mnist.py` with colour images.  The package contains 20 of them:
10 for training, and 10 that the network never sees.  With the official files, in a folder
that `KKT_REF_DATA` or `--data` names, it trains on 100, and with `--full` on 500, as the paper
does.  If the folder lacks them, the demo prints the command that downloads them.
"""

from images import main

if __name__ == "__main__":
    main("cifar10", __doc__)
