"""The applications under measurement; each module has `build`, which a worker and the driver call."""
