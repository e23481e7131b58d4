"""Pure domain logic: frames and values in, frames and values out.

No Dagster, no clients, no clock, no environment, and no randomness but from seeds.
"""
