"""The feature bank, with one file of features per video: storage, inspection and import."""

from timeception.features.bank.storage import BankError
from timeception.features.bank.store import BankEntry, FeatureBank, MismatchError, MissingVideoError

__all__ = ["BankEntry", "BankError", "FeatureBank", "MismatchError", "MissingVideoError"]
