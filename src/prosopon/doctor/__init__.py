"""The doctor: what this machine has, what is installed, and what a job on a model will need.

- ``machine``: cores, memory, graphics cards, disks.
- ``packages``: what the package's metadata asks for, what is there, and which command needs what.
- ``headers``, ``blueprint``: what a model is made of, from headers and configuration alone.
- ``job``, ``memory``, ``speed``, ``plan``: what a job needs, and whether it fits.
- ``report``: all of it as one JSON object.
"""

from prosopon.doctor.report import Question, examine

__all__ = ["Question", "examine"]
