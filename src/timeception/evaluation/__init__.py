"""Tests of trained models: metrics over a whole split, reports, protocols."""
