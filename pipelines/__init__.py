"""The jobs people schedule: short scripts over the library, with their settings in sample_config/."""

from videonovelty.one_thread import keep_to_one_thread

keep_to_one_thread()  # here, for the jobs load numpy with their first import
