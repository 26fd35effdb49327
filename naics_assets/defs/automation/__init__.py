"""What starts runs: jobs, sensors and schedules. In a fresh clone none of them does so unasked."""
