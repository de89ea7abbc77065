"""Checks for what ruins results silently, with a cure for each finding."""

from timeception.doctor.advice import Advice
from timeception.doctor.diagnose import diagnose

__all__ = ["Advice", "diagnose"]
