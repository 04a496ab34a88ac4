"""The pictures in the documentation, each taken of a real fleet: ``make pictures``."""
