"""Jobs: named selections of assets that people launch as a whole."""
