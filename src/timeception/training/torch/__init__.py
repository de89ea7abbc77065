"""Training of heads and backbones with PyTorch and Lightning."""
