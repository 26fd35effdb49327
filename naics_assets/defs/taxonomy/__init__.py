"""What follows from the tree of codes alone: distances and kinship of all pairs."""
