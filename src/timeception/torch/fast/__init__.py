"""What makes the network faster and changes no number: recomputing, fusing, native kernels."""
