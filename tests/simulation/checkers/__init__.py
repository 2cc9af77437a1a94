"""The judges, before histories made by hand."""
