"""Data sets that come with scikit-learn."""

import numpy as np

from sparse_training.data.raw import Access, DataSet

INSTALLED = True

TITLES = {
    "breast_cancer": "Breast Cancer Wisconsin (Diagnostic)",
    "digits": "Optical Recognition of Handwritten Digits, test part",
    "iris": "Iris",
    "wine": "Wine",
}


def expected(dataset: str) -> str | None:
    """None for a data set that there is, else what there is."""
    return None if dataset in TITLES else f"one of {', '.join(sorted(TITLES))}"


def read(dataset: str, access: Access) -> DataSet:
    """One of scikit-learn's own data sets; the 8x8 digits are images of one channel."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{dataset}")()
    image = dataset == "digits"
    return DataSet(
        numeric=np.ascontiguousarray(bunch.data, dtype=np.uint8 if image else np.float64),
        labels=bunch.target,
        classes=tuple(map(str, bunch.target_names)),
        title=TITLES[dataset],
        origin=f"package scikit-learn, load_{dataset}",
        licence="BSD-3-Clause (scikit-learn); CC BY 4.0 (UCI)",
        channels=int(image),
    )
