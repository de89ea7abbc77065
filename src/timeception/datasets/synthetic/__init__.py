"""Synthetic complex activities: drawn videos that differ only in order or extent in time."""

from timeception.datasets.synthetic.generate import make_synthetic_activities
from timeception.datasets.synthetic.plans import ACTIVITIES, ONE_ACTIONS, Activity, make_plan

__all__ = ["ACTIVITIES", "ONE_ACTIONS", "Activity", "make_plan", "make_synthetic_activities"]
