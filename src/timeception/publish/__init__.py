"""Publishing of models: packing, model cards, the zoo."""
