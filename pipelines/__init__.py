"""The jobs people schedule: short scripts over the library, with their settings in sample_config/."""
