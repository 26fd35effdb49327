"""What leaves the project: the released model of an edition."""
