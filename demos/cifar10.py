"""CIFAR-10, vehicles against animals: images come back out of a network's weights.

    python demos/cifar10.py

does as `demos/mnist.py` does, with colour images.  The package brings 20 of them: 10
are trained on, 10 are the null.  With the official files (`KKT_REF_DATA` or
`--download`) there are 100; `--full` trains the paper's network on 500.
"""

from image_demo import main

if __name__ == "__main__":
    main("cifar10", __doc__.split("\n")[0], dict(embedded=10, official=100, restarts=16, full=200))
