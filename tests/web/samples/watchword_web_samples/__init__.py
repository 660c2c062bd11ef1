"""Pages that use every macro, for the tests of the templates."""
