"""The report: a folder of plain files that a browser shows without server or network."""
