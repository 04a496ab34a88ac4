"""Whether what Milepost rests on is as it should be: one file for each family of checks."""
