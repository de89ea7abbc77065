"""Everything that makes the network faster without changing what it computes.

``forward`` chooses how a layer runs. ``epilogue`` recomputes activations to save memory,
``gradients`` holds cheaper gradients, ``fused`` folds batch norm away for evaluation, ``steps``
runs fused layers on streams, and ``native`` holds C++ kernels for the CPU.
"""
