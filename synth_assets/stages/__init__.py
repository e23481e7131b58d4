"""What each stage does: read what passed, one domain call, judge, commit. No Dagster in here.

The assets are thin shells around these functions, and tests can run a stage without an orchestrator.
"""
