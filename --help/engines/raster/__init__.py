"""Pictures as 64 codes, painted one by one: row by row, or in any order that is asked for."""
