"""The compiled core, each kernel beside a plain reference of the same signature."""
