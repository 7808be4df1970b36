"""Faults applied to the running product under traffic: python -m drills, or make drill."""
