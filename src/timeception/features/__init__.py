"""The feature bank, extraction of features into it, and import of existing features."""

from timeception.features.bank import BankEntry, BankError, FeatureBank

__all__ = ["BankEntry", "BankError", "FeatureBank"]
