"""Saved models to scores: video files, features and streams."""
