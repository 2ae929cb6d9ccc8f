"""Data: from a source, whole and untouched, to the rows of one instance, ready to train on.

    instances.py    an id to its training and evaluation rows: load()
    splits.py       which rows those are, by the form of the id
    features.py     what configurators are told of an instance
    stored.py       the file of a data set: layout, checksum
    raw.py          what a source is told and what it reads
    preparation.py  from raw values to that file: splits, categories, statistics
    sources/        where data sets come from, a file each

A trial's `load` imports nothing but numpy.
"""
