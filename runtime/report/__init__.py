"""The report: one HTML page that shows a compiled network and what it does on recordings."""
