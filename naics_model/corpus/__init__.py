"""From the Census Bureau's workbooks to clean tables: descriptions and activities.

No tree arithmetic (taxonomy), pairs, triplets or tokens; only this room knows the workbooks.
Data flows download (bytes) -> workbooks (rows) -> text, manual (clean parts) -> descriptions,
activities, concordance. provenance says of each workbook where it came from.
"""
