"""Networks as data, for any engine: no library for tensors is imported here.

network.py            layers, and what lies between them
activations.py        the activations of hidden layers
perceptron.py         multi-layer perceptrons
convolutional.py      LeNet-5 and wide residual networks
initial_weights.py    distributions of the initial weights
dropout.py            which activations dropout keeps
connectivity.py       neurons that no path reaches
"""
