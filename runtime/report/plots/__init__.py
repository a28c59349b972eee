"""The plots of a report, each an SVG that takes its text colours from the page. One plot a file."""
