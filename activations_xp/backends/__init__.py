"""How: one module a library, each with ``bind(definition, ...) -> kernel``."""
