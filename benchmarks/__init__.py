"""What Milepost costs and saves, in ratios measured on one machine: ``make bench``."""
