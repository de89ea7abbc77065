"""Extraction: features of video files into a bank, on one machine or on a Ray cluster."""
