"""What happens without a person: a schedule per dataset, and one sensor per kind of event for all datasets.

Every sensor is a pure decision over facts and a thin shell that reads the facts and tells Dagster, or says in a
sentence why it is silent.
"""
