"""Milepost's stores behind the contracts of other systems."""
