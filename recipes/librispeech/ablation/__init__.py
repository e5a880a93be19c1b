"""A laboratory that decides: variants of the small model, trained under one budget and scored in one table."""
