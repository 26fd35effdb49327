"""What keeps an installation of the graph in order: what Dagster and MLflow keep of old runs, and
whether they can be reached.

The commands of the terminal, and the job `cleaning` of the graph, call the same functions. What is
in the data folder, and the machine, are looked after in `naics_model.upkeep`.
"""

DAYS = 30
"""How old what is removed has to be, if nothing else is said."""
SECONDS_A_DAY = 86_400
