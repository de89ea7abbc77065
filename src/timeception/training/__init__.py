"""Recipes, training, testing and prediction."""
