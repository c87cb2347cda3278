"""MNIST, odd against even: digits come back out of a network's weights.

    python demos/mnist.py

trains a ReLU network on real digits by gradient descent, forgets the digits, and
reconstructs them from the weights alone.  It prints scores beside the same scores for
digits that the network never saw, and saves a figure.  The package brings 1000 digits;
`--full` trains the paper's network on 500.
"""

from image_demo import main

if __name__ == "__main__":
    main("mnist", __doc__.split("\n")[0], dict(embedded=100, official=100, restarts=16, full=200))
