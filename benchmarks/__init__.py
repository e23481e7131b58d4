"""Measurements: run by hand, quoted in RESULTS.md, never asserted by a timed test."""
