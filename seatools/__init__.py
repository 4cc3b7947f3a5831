"""`sea`: adapt a pretrained language model to new languages, one small command per step."""

__version__ = "0.1.0"
