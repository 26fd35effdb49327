"""What keeps an installation in order: editions and what is there of them, what nothing needs any
more, and whether the machine is fit for the work.

Looks at what the rooms below have written, and makes no data. What Dagster and MLflow keep is
looked after in `naics_assets.upkeep`.
"""
