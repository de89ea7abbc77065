"""The feature bank: one file of features per video; inspection, and import of existing features."""

from timeception.features.bank.storage import BankError
from timeception.features.bank.store import BankEntry, FeatureBank, MismatchError, MissingVideoError

__all__ = ["BankEntry", "BankError", "FeatureBank", "MismatchError", "MissingVideoError"]
