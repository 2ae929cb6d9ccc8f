"""What computes steps, gradients and outputs: two engines behind one interface, which agree.

    interface.py    what the loop asks of an engine, and what rules may look at
    choice.py       which engine trains a configuration
    masked.py, forward.py       PyTorch: any network, CPU and CUDA; the reference
    sparse.py, sparse.c         truly sparse multi-layer perceptrons on the CPU
    kernels.py      compiles sparse.c for this machine, and keeps it

Only `masked` and `forward` import torch. An engine sees positions, never a rule.
"""
