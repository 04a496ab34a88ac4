"""The real engine, run store, reconciler and commands in one thread, on a clock that is turned by hand."""
