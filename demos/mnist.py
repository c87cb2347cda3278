"""MNIST, odd against even digits: reconstruct training images from a network's weights.

    python demos/mnist.py

The demo trains a ReLU network on real digits by gradient descent.  Then it reconstructs digits
from the weights alone, and compares them with the training images and with as many digits
that the network never saw.  It prints both scores and saves a picture.  The package contains
1000 digits; `--full` trains the paper's network on 500 of them.
"""

from images import main

if __name__ == "__main__":
    main("mnist", __doc__)
