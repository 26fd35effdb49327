"""Clean, checked texts: one row a code, and one row an index entry."""
