"""Sharing models: packing, model cards, the zoo."""
