"""Synthetic complex activities: made videos in which only order or extent in time matters."""

from timeception.datasets.synthetic.generate import make_synthetic_activities
from timeception.datasets.synthetic.plans import ACTIVITIES, ONE_ACTIONS, Activity, make_plan

__all__ = ["ACTIVITIES", "ONE_ACTIONS", "Activity", "make_plan", "make_synthetic_activities"]
