-- The databases of the stack, a statement a line: one of Dagster's runs and events, one of MLflow's.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
