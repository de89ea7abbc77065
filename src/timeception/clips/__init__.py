"""What a model learns from: splits and classes, and one sampler of clips."""
